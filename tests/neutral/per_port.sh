#!/bin/sh
# Add one rule per port with plain "iptables -A". Build the rules in chains without a jump. Then one
# restore per family redirects the jumps from the chains of the earlier run to the new ones.
set -eu

fail() { echo "refused: $*" >&2; exit 1; }

number() { # TEXT MINIMUM MAXIMUM
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  [ "${#1}" -le 5 ] && [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]
}

is_range() { # TEXT; ip6tables validates IPv6 ranges further
  case $1 in */*/* | *[!0-9a-fA-F:./]*) return 1 ;; *?/?*) ;; *) return 1 ;; esac
  case $1 in *:*) number "${1#*/}" 0 128; return ;; esac
  number "${1#*/}" 0 32 || return 1
  address=${1%/*}.
  for _ in 1 2 3 4; do
    number "${address%%.*}" 0 255 || return 1
    case $address in 0[0-9]*) return 1 ;; esac # iptables reads 010 as an octal number
    address=${address#*.}
  done
  [ -z "$address" ]
}

each() { # LIST TEST...: sets $items to the items; every item must pass the test
  list=$1; shift
  case $list in *, | ,* | *,,*) fail "an empty item in '$list'" ;; esac
  items=
  IFS=,
  for item in $list; do
    item=${item# }; item=${item% }
    IFS=' '
    "$@" "$item" || fail "'$item' is not an item of this list"
    items="$items $item"
    IFS=,
  done
  IFS=' '
}

is_port() { # iptables reads 0443 as an octal number
  case $1 in 0*) return 1 ;; esac
  number "$1" 1 65535
}
is_free_port() { is_port "$1" && case $1 in 15000 | 15001 | 15003) return 1 ;; esac; }
is_interface() { case $1 in '' | *[!A-Za-z0-9_.@-]* | ????????????????*) return 1 ;; esac; }

each "$FSM_OUTBOUND_PORT_EXCLUSION_LIST" is_port; outbound=$items
each "$FSM_INBOUND_PORT_EXCLUSION_LIST" is_free_port; inbound=$items
each "$FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST" is_range; excluded=$items
each "$FSM_OUTBOUND_IP_RANGE_INCLUSION_LIST" is_range; included=$items
each "$FSM_NETWORK_INTERFACE_EXCLUSION_LIST" is_interface; interfaces=$items

programs=
case $POD_IPS in *.*) programs=iptables ;; esac
case $POD_IPS in *:*) programs="$programs ip6tables" ;; esac

of_family() { # PROGRAM RANGE
  case $2 in *:*) [ "$1" = ip6tables ] ;; *) [ "$1" = iptables ] ;; esac
}

current() { # PROGRAM: prints the active generation, or nothing
  "$1" -w 5 -t nat -S PREROUTING | sed -n 's/^-A PREROUTING -p tcp -j ONE_\([AB]\)_IN$/\1/p'
}

other() { case $1 in A) echo B ;; *) echo A ;; esac; }

discard() { # PROGRAM GENERATION
  for chain in "ONE_$2_IN" "ONE_$2_OUT"; do
    "$1" -w 5 -t nat -F "$chain" 2>/dev/null || :
    "$1" -w 5 -t nat -X "$chain" 2>/dev/null || :
  done
}

build() { # PROGRAM GENERATION
  in=ONE_$2_IN out=ONE_$2_OUT add="$1 -w 5 -t nat -A"
  loopback=127.0.0.0/8
  [ "$1" = iptables ] || loopback=::1/128
  "$1" -w 5 -t nat -N "$in"
  "$1" -w 5 -t nat -N "$out"
  for name in $interfaces; do
    $add "$in" -i "$name" -j RETURN
    $add "$out" -o "$name" -j RETURN
  done
  for port in 15010 15901 15902 15903 15904 $inbound; do
    $add "$in" -p tcp --dport "$port" -j RETURN
  done
  $add "$in" -p tcp -j REDIRECT --to-ports "$FSM_INBOUND_PORT"
  $add "$out" -d "$loopback" -j RETURN
  $add "$out" -o lo -m owner ! --uid-owner "$FSM_PROXY_UID" -j RETURN
  $add "$out" -o lo -p tcp -j REDIRECT --to-ports "$FSM_INBOUND_PORT"
  $add "$out" -m owner --uid-owner "$FSM_PROXY_UID" -j RETURN
  for port in $outbound; do $add "$out" -p tcp --dport "$port" -j RETURN; done
  for range in $excluded; do
    if of_family "$1" "$range"; then $add "$out" -d "$range" -j RETURN; fi
  done
  for range in $included; do
    if of_family "$1" "$range"; then
      $add "$out" -d "$range" -p tcp -j REDIRECT --to-ports "$FSM_OUTBOUND_PORT"
    fi
  done
  [ -n "$included" ] || $add "$out" -p tcp -j REDIRECT --to-ports "$FSM_OUTBOUND_PORT"
}

lead() { # PROGRAM FROM TO: replaces both jumps of a family at once; a generation may be ""
  {
    echo '*nat'
    if [ -n "$2" ]; then
      echo "-D PREROUTING -p tcp -j ONE_$2_IN"
      echo "-D OUTPUT -p tcp -j ONE_$2_OUT"
    fi
    if [ -n "$3" ]; then
      echo "-A PREROUTING -p tcp -j ONE_$3_IN"
      echo "-A OUTPUT -p tcp -j ONE_$3_OUT"
    fi
    echo COMMIT
  } | "$1-restore" --noflush --wait=5
}

drop_stray() { # PROGRAM: otherwise a segment outside the window gets a reset
  set -- "$1" -p tcp -m conntrack --ctstate INVALID -j DROP
  program=$1; shift
  "$program" -w 5 -C INPUT "$@" 2>/dev/null || "$program" -w 5 -A INPUT "$@"
}

led=
undo() {
  status=$?
  [ "$status" -eq 0 ] && return
  for program in $led; do
    eval "lead $program \"\$new_$program\" \"\$old_$program\"" || :
  done
  for program in $programs; do eval "discard $program \"\${new_$program-C}\""; done
}
trap undo EXIT

for program in $programs; do
  generation=$(current "$program")
  eval "old_$program=\$generation new_$program=$(other "$generation")"
  eval "discard $program \"\$new_$program\"; build $program \"\$new_$program\""
  drop_stray "$program"
done
for program in $programs; do
  eval "lead $program \"\$old_$program\" \"\$new_$program\""
  led="$led $program"
done
for program in $programs; do
  eval "if [ -n \"\$old_$program\" ]; then discard $program \"\$old_$program\"; fi"
done
