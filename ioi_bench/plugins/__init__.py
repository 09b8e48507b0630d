"""Plugins: what third parties add, through the hooks that the built-ins use too."""
