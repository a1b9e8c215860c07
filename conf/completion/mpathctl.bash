# bash completion for mpathctl(1). mpathctl itself knows what may come next; it says nothing while mpathd is away.

_mpathctl() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        # An empty candidate: files are wanted, which bash knows itself.
        [[ $line == $'\t'FILE ]] && { compopt -o default 2>/dev/null; continue; }
        line=${line%%$'\t'*}
        # Where bash takes "=" for a word of its own, only what stands behind it is replaced.
        [[ $COMP_WORDBREAKS == *=* ]] && line=${line#--*=}
        COMPREPLY+=("$line")
    done < <("${1:-mpathctl}" --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}

complete -F _mpathctl mpathctl
