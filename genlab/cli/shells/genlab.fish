# fish completion of genlab: genlab completion fish | source
function __genlab_words
    set -l typed (commandline -opc) (commandline -ct)
    set -lx GENLAB_COMPLETE (printf '%s\n' $typed[2..] . | string collect)
    genlab completion words 2>/dev/null
end
complete -c genlab -a '(__genlab_words)'
