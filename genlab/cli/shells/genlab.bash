# bash completion of genlab: eval "$(genlab completion bash)"
_genlab() {
    local line="${COMP_LINE:0:COMP_POINT}" typed before
    local -a words found
    read -a words <<< "$line" # without -r: a\ b is the word that the command would get
    [[ "$line" == *[[:space:]] && "$line" != *\\[[:space:]] ]] && words+=("")
    typed="${words[-1]}"
    mapfile -t found < <(GENLAB_COMPLETE="$(printf '%s\n' "${words[@]:1}" .)" genlab completion words 2>/dev/null)
    before="${typed%"${typed##*[=:]}"}"
    if [[ "$before" && "$COMP_WORDBREAKS" == *"${before: -1}"* ]]; then
        found=("${found[@]#"$before"}")
    fi
    COMPREPLY=()
    (( ${#found[@]} )) && mapfile -t COMPREPLY < <(printf '%q\n' "${found[@]}") # a name, never a command
    [[ "${COMPREPLY[*]}" == *[=.] ]] && compopt -o nospace 2>/dev/null
}
complete -o default -F _genlab genlab
