"""The parts of completion scripts that do not depend on the verbs. Marks in @ are filled in by `completing.py`."""

from __future__ import annotations

#: What was typed before the current word: the verb, the store, and whether an option waits for its value.
_TYPED = r"""        if [[ -n $expect ]]; then
            [[ $expect == --url ]] && url=$part
            expect=""
        elif [[ $part == --url=* ]]; then
            url=${part#--url=}
        elif [[ $part == -* ]]; then
            _deferq_value "$verb" "$part" && expect=$part
        elif [[ -z $first ]]; then
            first=$part verb=$part
        elif [[ -z $second ]] && _deferq_group "$first"; then
            second=$part verb="$first $part"
        fi"""

#: What may stand where, by the verb.
_TABLES = r"""_deferq_group() {
    case $1 in
@GROUPS@
        *) return 1 ;;
    esac
}
_deferq_options() {
    case $1 in
@OPTIONS@
    esac
}
_deferq_value() {
    [[ $2 == --url ]] && kind=words words="sqlite:/// memory://" && return 0
    case $1:$2 in
@VALUES@
        *) return 1 ;;
    esac
}
_deferq_place() {
    case $1 in
@PLACES@
    esac
}"""

#: bash takes words apart at ':' and '=', so they are put together again first.
BASH = r"""# Completion of deferq for bash: source <(deferq completion bash)
_deferq() {
    local -a line=()
    local part glue="" first="" second="" verb="" expect="" url="" kind="" words="" current option
    COMPREPLY=()
    for part in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        if [[ ${#line[@]} -gt 0 && ( -n $glue || $part == ":"* || $part == "=" ) ]]; then
            line[${#line[@]}-1]+=$part
        else
            line+=("$part")
        fi
        if [[ $part == ":" || $part == "=" ]]; then glue=1; else glue=""; fi
    done
    current=${line[${#line[@]}-1]}
    unset "line[${#line[@]}-1]"
    for part in "${line[@]}"; do
@TYPED@
    done
    words="" kind=""
    if [[ $current == --*=* ]]; then
        option=${current%%=*} current=${current#*=}
        _deferq_value "$verb" "$option" || return 0
    elif [[ -n $expect ]]; then
        _deferq_value "$verb" "$expect"
    elif [[ -z $first ]]; then
        kind=words words="@FIRSTS@"
        [[ $current == -* ]] && words="--url --version --help"
    elif [[ -z $second ]] && _deferq_group "$first"; then
        kind=words
    elif [[ $current == -* ]]; then
        kind=words
        _deferq_options "$verb"
    else
        _deferq_place "$verb"
    fi
    case $kind in
        words) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
        queues)
            words=$(deferq ${url:+--url "$url"} completion queues 2>/dev/null)
            COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
        files) COMPREPLY=($(compgen -f -X '!*.py' -- "$current") $(compgen -d -S / -- "$current")) ;;
    esac
}
@TABLES@
complete -o bashdefault -F _deferq deferq
""".replace("@TYPED@", _TYPED).replace("@TABLES@", _TABLES)

#: `words` is a name of zsh's own.
ZSH = r"""#compdef deferq
# Completion of deferq for zsh: source <(deferq completion zsh), after compinit
_deferq() {
    local part first="" second="" verb="" expect="" url="" kind="" words_="" current=$PREFIX
    for part in "${words[@]:1:$((CURRENT - 2))}"; do
@TYPED@
    done
    words_="" kind=""
    if [[ $current == --*=* ]]; then
        _deferq_value "$verb" "${current%%=*}" || return 0
        compset -P '*='
    elif [[ -n $expect ]]; then
        _deferq_value "$verb" "$expect"
    elif [[ -z $first ]]; then
        kind=words words_="@FIRSTS@"
        [[ $current == -* ]] && words_="--url --version --help"
    elif [[ -z $second ]] && _deferq_group "$first"; then
        kind=words
    elif [[ $current == -* ]]; then
        kind=words
        _deferq_options "$verb"
    else
        _deferq_place "$verb"
    fi
    case $kind in
        words) compadd -- ${=words_} ;;
        queues) compadd -- ${(f)"$(deferq ${url:+--url} ${url:+$url} completion queues 2>/dev/null)"} ;;
        files) _files -g '*.py' ;;
    esac
}
@TABLES@
if [[ ${funcstack[1]-} == _deferq ]]; then
    _deferq "$@"
else
    compdef _deferq deferq
fi
""".replace("@TYPED@", _TYPED).replace("@TABLES@", _TABLES.replace("words=", "words_="))

FISH = r"""# Completion of deferq for fish: deferq completion fish | source
function __deferq_is --description 'Whether these are the verbs typed so far'
    set -l typed
    set -l skip
    for word in (commandline -opc)[2..-1]
        if set -q skip[1]
            set -e skip[1]
        else if test "$word" = --url
            set skip 1
        else if not string match -q -- '-*' "$word"
            set -a typed "$word"
        end
    end
    set -l count (count $argv)
    if contains -- "$argv" @ALONE@
        test (count $typed) -eq $count -a "$typed" = "$argv"
    else
        test (count $typed) -ge $count -a "$typed[1..$count]" = "$argv"
    end
end
function __deferq_queues
    deferq completion queues 2>/dev/null
end
complete -c deferq -f
complete -c deferq -l url -x -d 'the store, such as sqlite:///jobs.db'
@LINES@
"""
