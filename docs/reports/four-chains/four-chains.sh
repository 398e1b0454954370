#!/bin/sh
# The four chains that the document names, with the rules of Open Service Mesh 0.7 to 1.0.0-rc.2, from
# which the names come: IPv4 only, one iptables command for each rule, exclusions on top.
set -e

add() { iptables -w -t nat -A "$@"; }

for chain in PROXY_INBOUND PROXY_IN_REDIRECT PROXY_OUTPUT PROXY_REDIRECT; do
  iptables -w -t nat -N "$chain"
done

add PROXY_REDIRECT -p tcp -j REDIRECT --to-port 15001
add PROXY_REDIRECT -p tcp --dport 15000 -j ACCEPT
add OUTPUT -p tcp -j PROXY_OUTPUT
add PROXY_OUTPUT -m owner --uid-owner 1500 -j RETURN
add PROXY_OUTPUT -d 127.0.0.1/32 -j RETURN
add PROXY_OUTPUT -j PROXY_REDIRECT

add PROXY_IN_REDIRECT -p tcp -j REDIRECT --to-port 15003
add PREROUTING -p tcp -j PROXY_INBOUND
for port in 15010 15901 15902 15903; do
  add PROXY_INBOUND -p tcp --dport "$port" -j RETURN
done
add PROXY_INBOUND -p tcp -j PROXY_IN_REDIRECT

first() { iptables -w -t nat -I "$@" -j RETURN; }

for range in $(printf %s "$FSM_OUTBOUND_IP_RANGE_EXCLUSION_LIST" | tr , ' '); do
  first PROXY_OUTPUT -d "$range"
done
if [ -n "$FSM_OUTBOUND_PORT_EXCLUSION_LIST" ]; then
  first PROXY_OUTPUT -p tcp --match multiport --dports "$FSM_OUTBOUND_PORT_EXCLUSION_LIST"
fi
if [ -n "$FSM_INBOUND_PORT_EXCLUSION_LIST" ]; then
  first PROXY_INBOUND -p tcp --match multiport --dports "$FSM_INBOUND_PORT_EXCLUSION_LIST"
fi
