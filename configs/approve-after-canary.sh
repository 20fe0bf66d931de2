#!/bin/sh
# Approves the retries of a fleet's task once a canary's task is good. For a pipeline, or cron.
#
#   approve-after-canary.sh CANARY FLEET [PERCENT]
#
# Both tasks are named by id or name. Good is: at least PERCENT (95) of the canary's sub-tasks have
# succeeded, and retryd has given none of them up. It needs jq. Where retryd is, and who asks, it is
# told by $RETRYD_URL, $RETRYD_USER and $RETRYD_PASSWORD, else by the configuration.
#
# Exit code: 0 it is approved · 4 not yet, try again later · 5 the canary is bad · else it went wrong.
set -eu
canary=$1 fleet=$2 percent=${3:-95}

tasks=$(retryd tasks "$canary" --format json)
number() { printf '%s' "$tasks" | jq -er ".items[0] | $1"; }
total=$(number .total) succeeded=$(number .success)
given_up=$(number '[.ended.exhausted, .ended.permanent, .ended.expired] | map(. // 0) | add')

if [ "$given_up" -gt 0 ]; then
	echo "the canary $canary is bad: $given_up of its $total targets are given up" >&2
	for end in exhausted permanent expired; do
		retryd targets "$canary" --is "$end" >&2
	done
	exit 5
fi
if [ "$total" -eq 0 ] || [ $((succeeded * 100)) -lt $((total * percent)) ]; then
	echo "not yet: $succeeded of $total of the canary $canary have succeeded, and it takes $percent %" >&2
	exit 4
fi
retryd approve "$fleet" --for 2d --yes --why "the canary $canary is good: $succeeded of $total succeeded, and none is given up"
