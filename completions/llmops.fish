complete --keep-order --exclusive --command llmops --arguments "(LLMOPS_COMPLETE=fish llmops -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
