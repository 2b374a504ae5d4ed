_llmops() {
    local word words=("${COMP_WORDS[@]:0:COMP_CWORD+1}")
    [[ ${words[COMP_CWORD]} == [=:]* ]] || words[COMP_CWORD]=$2
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(LLMOPS_COMPLETE=bash llmops -- "${words[@]}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=:/] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o bashdefault -o nosort -F _llmops llmops 2>/dev/null ||
    complete -o bashdefault -F _llmops llmops
