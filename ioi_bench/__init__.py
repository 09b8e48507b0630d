"""ioi-bench: judge sparse autoencoders by what editing their features does on the IOI task."""
