set edit:completion:arg-completer[llmops] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) LLMOPS_COMPLETE="elvish" llmops -- $@words) | to-lines
}
