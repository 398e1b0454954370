#!/bin/sh
# What FSM (from 1.4.17 on) runs in its init container: IPv4 only, one restore, one match for all ports.
# Rule order and validation as in fsm-and-pipy.md, sections 1 and 4; the contract gives the lists.
set -eu

ports() { # what the webhook lets through: whole numbers above zero
  IFS=,
  for port in $1; do
    case $port in '' | *[!0-9]*) echo "Invalid port value '$port'" >&2; exit 1 ;; esac
    [ "$port" -gt 0 ] || { echo "Invalid port value '$port'" >&2; exit 1; }
  done
  unset IFS
}

ranges() { # a prefix length is demanded by the webhook, the rest is left to iptables
  IFS=,
  for range in $1; do
    case $range in */*) ;; *) echo "Invalid IP range '$range'" >&2; exit 1 ;; esac
  done
  unset IFS
}

# The mesh-wide lists are not validated at all; the contract unites both scopes.
ports "$FSM_OUTBOUND_PORT_EXCLUSION_LIST"
ports "$FSM_INBOUND_PORT_EXCLUSION_LIST"
ranges "$FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST"
ranges "$FSM_OUTBOUND_IP_RANGE_INCLUSION_LIST"

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
  if [ -n "$FSM_INBOUND_PORT_EXCLUSION_LIST" ]; then
    echo "-I FSM_PROXY_INBOUND -p tcp --match multiport --dports $FSM_INBOUND_PORT_EXCLUSION_LIST -j RETURN"
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
  if [ -n "$FSM_OUTBOUND_PORT_EXCLUSION_LIST" ]; then
    echo "-A FSM_PROXY_OUTBOUND -p tcp --match multiport --dports $FSM_OUTBOUND_PORT_EXCLUSION_LIST -j RETURN"
  fi
  split "$FSM_OUTBOUND_IP_RANGE_INCLUSION_LIST" | while read -r range; do
    echo "-A FSM_PROXY_OUTBOUND -d $range -j FSM_PROXY_OUT_REDIRECT"
  done
  if [ -n "$FSM_OUTBOUND_IP_RANGE_INCLUSION_LIST" ]; then
    echo '-A FSM_PROXY_OUTBOUND -j RETURN'
  else
    echo '-A FSM_PROXY_OUTBOUND -j FSM_PROXY_OUT_REDIRECT'
  fi
  echo 'COMMIT'
} | iptables-restore --noflush
