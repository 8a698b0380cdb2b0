# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_branchline_global_optspecs
    string join \n config= board= check print-config h/help V/version
end

function __fish_branchline_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_branchline_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_branchline_using_subcommand
    set -l cmd (__fish_branchline_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c branchline -n "__fish_branchline_needs_command" -l config -d 'Configuration file [default: /etc/branchline/branchline.toml, if it exists]' -r -F
complete -c branchline -n "__fish_branchline_needs_command" -l board -d 'Board profile, instead of the configured one; `auto`: detected' -r
complete -c branchline -n "__fish_branchline_needs_command" -l check -d 'Check the configuration, print all errors and warnings, and exit'
complete -c branchline -n "__fish_branchline_needs_command" -l print-config -d 'Print the effective configuration, without secrets, and exit'
complete -c branchline -n "__fish_branchline_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c branchline -n "__fish_branchline_needs_command" -s V -l version -d 'Print version'
complete -c branchline -n "__fish_branchline_needs_command" -f -a "boards" -d 'List the board profiles and mark that of this machine'
complete -c branchline -n "__fish_branchline_needs_command" -f -a "status" -d 'Show the status of the gateway and current problems'
complete -c branchline -n "__fish_branchline_needs_command" -f -a "self-test" -d 'Place a call to the gateway itself and measure it; starts a gateway if none is running'
complete -c branchline -n "__fish_branchline_needs_command" -f -a "call" -d 'Place a test call, play a tone and show the media quality'
complete -c branchline -n "__fish_branchline_needs_command" -f -a "outbox" -d 'Show or drop events that wait for their webhook, while the gateway is stopped'
complete -c branchline -n "__fish_branchline_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c branchline -n "__fish_branchline_using_subcommand boards" -l config -d 'Configuration file [default: /etc/branchline/branchline.toml, if it exists]' -r -F
complete -c branchline -n "__fish_branchline_using_subcommand boards" -l board -d 'Board profile, instead of the configured one; `auto`: detected' -r
complete -c branchline -n "__fish_branchline_using_subcommand boards" -s h -l help -d 'Print help'
complete -c branchline -n "__fish_branchline_using_subcommand status" -l url -d 'Address of the API, e.g. http://192.168.1.10:8080 [default: as configured]' -r
complete -c branchline -n "__fish_branchline_using_subcommand status" -l token-file -d 'File with the API\'s token [default: as configured]' -r -F
complete -c branchline -n "__fish_branchline_using_subcommand status" -l config -d 'Configuration file [default: /etc/branchline/branchline.toml, if it exists]' -r -F
complete -c branchline -n "__fish_branchline_using_subcommand status" -l board -d 'Board profile, instead of the configured one; `auto`: detected' -r
complete -c branchline -n "__fish_branchline_using_subcommand status" -l json -d 'Print the reply of GET /v1/status unformatted'
complete -c branchline -n "__fish_branchline_using_subcommand status" -l watch -d 'Refresh every two seconds, until Ctrl-C'
complete -c branchline -n "__fish_branchline_using_subcommand status" -s h -l help -d 'Print help'
complete -c branchline -n "__fish_branchline_using_subcommand self-test" -l url -d 'Address of the API, e.g. http://192.168.1.10:8080 [default: as configured]' -r
complete -c branchline -n "__fish_branchline_using_subcommand self-test" -l token-file -d 'File with the API\'s token [default: as configured]' -r -F
complete -c branchline -n "__fish_branchline_using_subcommand self-test" -l config -d 'Configuration file [default: /etc/branchline/branchline.toml, if it exists]' -r -F
complete -c branchline -n "__fish_branchline_using_subcommand self-test" -l board -d 'Board profile, instead of the configured one; `auto`: detected' -r
complete -c branchline -n "__fish_branchline_using_subcommand self-test" -l json -d 'Print the reply of POST /v1/self-test unformatted'
complete -c branchline -n "__fish_branchline_using_subcommand self-test" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c branchline -n "__fish_branchline_using_subcommand call" -l seconds -d 'Duration of the tone after the answer' -r
complete -c branchline -n "__fish_branchline_using_subcommand call" -l url -d 'Address of the API, e.g. http://192.168.1.10:8080 [default: as configured]' -r
complete -c branchline -n "__fish_branchline_using_subcommand call" -l token-file -d 'File with the API\'s token [default: as configured]' -r -F
complete -c branchline -n "__fish_branchline_using_subcommand call" -l config -d 'Configuration file [default: /etc/branchline/branchline.toml, if it exists]' -r -F
complete -c branchline -n "__fish_branchline_using_subcommand call" -l board -d 'Board profile, instead of the configured one; `auto`: detected' -r
complete -c branchline -n "__fish_branchline_using_subcommand call" -l json -d 'Print the reply of GET /v1/legs/{id}/quality unformatted'
complete -c branchline -n "__fish_branchline_using_subcommand call" -s h -l help -d 'Print help'
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and not __fish_seen_subcommand_from list drop help" -l config -d 'Configuration file [default: /etc/branchline/branchline.toml, if it exists]' -r -F
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and not __fish_seen_subcommand_from list drop help" -l board -d 'Board profile, instead of the configured one; `auto`: detected' -r
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and not __fish_seen_subcommand_from list drop help" -s h -l help -d 'Print help'
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and not __fish_seen_subcommand_from list drop help" -f -a "list" -d 'List the events: number, time, type, leg, id, target'
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and not __fish_seen_subcommand_from list drop help" -f -a "drop" -d 'Drop an event by its number, or all'
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and not __fish_seen_subcommand_from list drop help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [default: /etc/branchline/branchline.toml, if it exists]' -r -F
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and __fish_seen_subcommand_from list" -l board -d 'Board profile, instead of the configured one; `auto`: detected' -r
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and __fish_seen_subcommand_from drop" -l config -d 'Configuration file [default: /etc/branchline/branchline.toml, if it exists]' -r -F
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and __fish_seen_subcommand_from drop" -l board -d 'Board profile, instead of the configured one; `auto`: detected' -r
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and __fish_seen_subcommand_from drop" -s h -l help -d 'Print help'
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the events: number, time, type, leg, id, target'
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and __fish_seen_subcommand_from help" -f -a "drop" -d 'Drop an event by its number, or all'
complete -c branchline -n "__fish_branchline_using_subcommand outbox; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c branchline -n "__fish_branchline_using_subcommand help; and not __fish_seen_subcommand_from boards status self-test call outbox help" -f -a "boards" -d 'List the board profiles and mark that of this machine'
complete -c branchline -n "__fish_branchline_using_subcommand help; and not __fish_seen_subcommand_from boards status self-test call outbox help" -f -a "status" -d 'Show the status of the gateway and current problems'
complete -c branchline -n "__fish_branchline_using_subcommand help; and not __fish_seen_subcommand_from boards status self-test call outbox help" -f -a "self-test" -d 'Place a call to the gateway itself and measure it; starts a gateway if none is running'
complete -c branchline -n "__fish_branchline_using_subcommand help; and not __fish_seen_subcommand_from boards status self-test call outbox help" -f -a "call" -d 'Place a test call, play a tone and show the media quality'
complete -c branchline -n "__fish_branchline_using_subcommand help; and not __fish_seen_subcommand_from boards status self-test call outbox help" -f -a "outbox" -d 'Show or drop events that wait for their webhook, while the gateway is stopped'
complete -c branchline -n "__fish_branchline_using_subcommand help; and not __fish_seen_subcommand_from boards status self-test call outbox help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c branchline -n "__fish_branchline_using_subcommand help; and __fish_seen_subcommand_from outbox" -f -a "list" -d 'List the events: number, time, type, leg, id, target'
complete -c branchline -n "__fish_branchline_using_subcommand help; and __fish_seen_subcommand_from outbox" -f -a "drop" -d 'Drop an event by its number, or all'
