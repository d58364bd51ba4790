# bash completion of genlab: eval "$(genlab completion bash)"
_genlab() {
    local line="${COMP_LINE:0:COMP_POINT}" typed before IFS
    local -a words
    read -ra words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    typed="${words[-1]}"
    IFS=$'\n'
    COMPREPLY=($(GENLAB_COMPLETE="$(printf '%s\n' "${words[@]:1}" .)" genlab completion words 2>/dev/null))
    if [[ "$typed" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then
        before="${typed%"${typed##*=}"}"
        COMPREPLY=("${COMPREPLY[@]#"$before"}")
    fi
    [[ "${COMPREPLY[*]}" == *[=.] ]] && compopt -o nospace 2>/dev/null
}
complete -o default -F _genlab genlab
