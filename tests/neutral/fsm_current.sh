#!/bin/sh
# The init container of FSM 1.4.17 and later: IPv4 only, one restore, one match for all ports.
# The webhook is included: it validates annotations and merges the lists of both scopes.
# With the argument PodIP it acts like FSM with localProxyMode: PodIP.
set -eu

annotation() { # NAME: prints the value; status 1 without one
  grep -q "\"flomesh.io/$1\":" "$FSM_POD" || return 1
  sed -n 's|.*"flomesh.io/'"$1"'": "\([^"]*\)".*|\1|p' "$FSM_POD"
}

number() { # TEXT MAXIMUM
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  [ "${#1}" -le 9 ] && [ "$1" -le "$2" ]
}

is_port() { number "$1" 999999999 && [ "$1" -gt 0 ]; } # the webhook has no upper limit

is_cidr() { # like Go's ParseCIDR; accepts IPv6
  case $1 in */*/* | *[!0-9a-fA-F:./]*) return 1 ;; *?/?*) ;; *) return 1 ;; esac
  case $1 in *:*) number "${1#*/}" 128; return ;; esac
  number "${1#*/}" 32 || return 1
  address=${1%/*}.
  for _ in 1 2 3 4; do
    number "${address%%.*}" 255 || return 1
    case $address in 0[0-9]*) return 1 ;; esac
    address=${address#*.}
  done
  [ -z "$address" ]
}

webhook() { # NAME TEST: validates an annotation; the MeshConfig's lists are never validated
  value=$(annotation "$1") || return 0
  rest=$value,
  while [ -n "$rest" ]; do
    item=${rest%%,*} rest=${rest#*,}
    item=${item#"${item%%[! ]*}"} item=${item%"${item##*[! ]}"}
    "$2" "$item" || { echo "Invalid value '$item' specified for annotation '$1'" >&2; exit 1; }
  done
}

webhook outbound-port-exclusion-list is_port
webhook inbound-port-exclusion-list is_port
webhook outbound-ip-range-exclusion-list is_cidr
webhook outbound-ip-range-inclusion-list is_cidr

numbers() { printf %s "$1" | sed -E 's/(^|,)0+([1-9])/\1\2/g'; } # "0443" is printed as 443
inbound=$(numbers "$FSM_INBOUND_PORT_EXCLUSION_LIST")
outbound=$(numbers "$FSM_OUTBOUND_PORT_EXCLUSION_LIST")

split() { printf %s "$1" | tr , '\n'; [ -z "$1" ] || echo; }

{
  echo '*nat'
  echo ':FSM_PROXY_INBOUND - [0:0]'
  echo ':FSM_PROXY_IN_REDIRECT - [0:0]'
  echo ':FSM_PROXY_OUTBOUND - [0:0]'
  echo ':FSM_PROXY_OUT_REDIRECT - [0:0]'
  echo '-A FSM_PROXY_IN_REDIRECT -p tcp -j REDIRECT --to-port 15003'
  echo '-A PREROUTING -p tcp -j FSM_PROXY_INBOUND'
  for port in 15010 15901 15902 15903 15904; do
    echo "-A FSM_PROXY_INBOUND -p tcp --dport $port -j RETURN"
  done
  echo '-A FSM_PROXY_INBOUND -p tcp -j FSM_PROXY_IN_REDIRECT'
  split "$FSM_NETWORK_INTERFACE_EXCLUSION_LIST" | while read -r name; do
    echo "-I FSM_PROXY_INBOUND -i $name -j RETURN"
  done
  if [ -n "$inbound" ]; then
    echo "-I FSM_PROXY_INBOUND -p tcp --match multiport --dports $inbound -j RETURN"
  fi
  echo '-A FSM_PROXY_OUT_REDIRECT -p tcp -j REDIRECT --to-port 15001'
  echo '-A FSM_PROXY_OUT_REDIRECT -p tcp --dport 15000 -j ACCEPT'
  echo '-A OUTPUT -p tcp -j FSM_PROXY_OUTBOUND'
  echo '-A FSM_PROXY_OUTBOUND -o lo ! -d 127.0.0.1/32 -m owner --uid-owner 1500 -j FSM_PROXY_IN_REDIRECT'
  echo '-A FSM_PROXY_OUTBOUND -o lo -m owner ! --uid-owner 1500 -j RETURN'
  echo '-A FSM_PROXY_OUTBOUND -m owner --uid-owner 1500 -j RETURN'
  echo '-A FSM_PROXY_OUTBOUND -d 127.0.0.1/32 -j RETURN'
  split "$FSM_NETWORK_INTERFACE_EXCLUSION_LIST" | while read -r name; do
    echo "-A FSM_PROXY_OUTBOUND -o $name -j RETURN"
  done
  split "$FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST" | while read -r range; do
    echo "-A FSM_PROXY_OUTBOUND -d $range -j RETURN"
  done
  if [ -n "$outbound" ]; then
    echo "-A FSM_PROXY_OUTBOUND -p tcp --match multiport --dports $outbound -j RETURN"
  fi
  split "$FSM_OUTBOUND_IP_RANGE_INCLUSION_LIST" | while read -r range; do
    echo "-A FSM_PROXY_OUTBOUND -d $range -j FSM_PROXY_OUT_REDIRECT"
  done
  if [ -n "$FSM_OUTBOUND_IP_RANGE_INCLUSION_LIST" ]; then
    echo '-A FSM_PROXY_OUTBOUND -j RETURN'
  else
    echo '-A FSM_PROXY_OUTBOUND -j FSM_PROXY_OUT_REDIRECT'
  fi
  if [ "${1:-}" = PodIP ]; then
    echo "-I OUTPUT -p tcp -o lo -d 127.0.0.1/32 -m owner --uid-owner 1500 -j DNAT --to-destination $POD_IP"
  fi
  echo 'COMMIT'
} | iptables-restore --noflush
