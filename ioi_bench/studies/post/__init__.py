"""The post's results as a study: "SAEs Discover Meaningful Features in the IOI Task", on a training run of ours.

`ioi_bench.studies.post.study.study_post` chooses suites (`chosen`), judges them (`judging`), compares what their cards
say (`tables`, `correlations`), and decides each of the post's findings by a rule (`findings`); `write_study` writes
RESULTS.md (`pages`), its figures (`panels`, `figures`) and results.json.
"""
