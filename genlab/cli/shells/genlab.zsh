#compdef genlab
# zsh completion of genlab: eval "$(genlab completion zsh)" after compinit
_genlab() {
    local -a typed found open closed
    typed=("${(@)words[2,CURRENT]}")
    found=(${(f)"$(GENLAB_COMPLETE="$(printf '%s\n' "${typed[@]}" .)" genlab completion words 2>/dev/null)"})
    open=(${(M)found:#*[=.]})
    closed=(${found:#*[=.]})
    (( $#open )) && compadd -S '' -- $open
    (( $#closed )) && compadd -- $closed
    (( $#found )) || _files
}
if [[ "$funcstack[1]" == _genlab ]]; then _genlab "$@"; else compdef _genlab genlab; fi
