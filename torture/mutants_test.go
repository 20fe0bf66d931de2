package torture_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var mutants = flag.Bool("mutants", false, "take each guard out, in a copy, and see a proof fail")

// mutant is one guard of the program taken out, and the proofs that notice.
type mutant struct {
	guard    string
	file     string
	old, new string
	proof    string // package
	tests    string // pattern; the proofs that are expected to fail
}

var all = []mutant{
	{"the claim's compare-and-set", "internal/store/claim.go", `case r.N != c.LastN:`, `case false:`,
		"./internal/store", "TestAClaimDropsWhatFailsACheckAndTakesTheRest"},
	{"the claim's count", "internal/store/claim.go", `case r.Counted >= c.Max:`, `case false:`,
		"./internal/store", "TestAClaimDropsWhatFailsACheckAndTakesTheRest"},
	{"the claim's look at open attempts", "internal/store/claim.go", `case r.OpenTask != "":` + "\n\t\treturn", `case false:` + "\n\t\treturn",
		"./internal/store", "TestAClaimDropsWhatFailsACheckAndTakesTheRest"},
	{"the fencing check", "internal/store/lease.go", `if errors.Is(err, sql.ErrNoRows) || err == nil && token != s.lease.Token {`, `if err = nil; false {`,
		"./internal/scheduler", "TestAReplicaThatLostItsLeaseClaimsNothing|TestALateAnswerIsNotWritten"},
	{"the open-attempt index of SQLite", "internal/store/migrations/sqlite/00005_pace.sql", `CREATE UNIQUE INDEX attempts_open_device`, `CREATE INDEX attempts_open_device`,
		"./internal/store", "TestTheIndexRefusesASecondOpenAttemptOfADevice"},
	{"the open-attempt index of PostgreSQL", "internal/store/migrations/postgres/00005_pace.sql", `CREATE UNIQUE INDEX attempts_open_device`, `CREATE INDEX attempts_open_device`,
		"./internal/store", "TestTheIndexRefusesASecondOpenAttemptOfADevice"},
	{"the freshness gate", "internal/scheduler/send.go", `if stale(readAt) {`, `if false {`,
		"./internal/scheduler", "Stale|Old|Fresh|Matrix|Slow|Fault"},
	{"the lease gate", "internal/scheduler/drive.go", `> d.ttl/3`, `> -d.ttl`,
		"./internal/scheduler", "TestNothingIsSentInTheLastThirdOfALease"},
	{"an answer only for a claim", "internal/store/answer.go", `FROM @each) AND state = 'claimed'`, `FROM @each)`,
		"./internal/store", "TestAnAnswerCountsOnceAndOnlyForAClaim|TestNoSequenceOfEventsBreaksACount"},
	{"the shortcut: progress before and after", "internal/policy/observe.go", `p.Before == p.After && `, ``, "./internal/policy", "."},
	{"the shortcut: everything settled", "internal/policy/observe.go", `p.After.Settled() && `, ``, "./internal/policy", "."},
	{"the shortcut: as many failed as counted", "internal/policy/observe.go", `p.Failed == p.After.Fail && `, ``, "./internal/policy", "."},
	{"the shortcut: pages as full as they must be", "internal/policy/observe.go", `&& !p.Uneven &&`, `&&`, "./internal/policy", "."},
	{"the shortcut: nothing sent meanwhile", "internal/policy/observe.go", `!p.Posted &&`, `true &&`, "./internal/policy", "."},
	{"the shortcut: read late enough", "internal/policy/observe.go", `!p.FirstRead.Before(lastAnswer.Add(settle))`, `true`, "./internal/policy", "."},
	{"the lease look of a write on PostgreSQL", "internal/store/group.go", `if err := m.of.fence(ctx, t); err != nil {`, `if err := error(nil); err != nil {`,
		"./internal/store", "TestNothingIsWrittenUnderALeaseThatIsLost/PostgreSQL"},
	{"what the dead had claimed is not released", "internal/store/claim.go", `SET state = 'unknown', answered_at = send_by`, `SET state = 'released', answered_at = send_by`,
		"./internal/store", "TestClaimsThatAreLeftBehindAreUnknownAndCount"},
	{"an empty bucket after a take-over", "internal/scheduler/lease.go", `c.client.Budget().Drain()`, `_ = c`,
		"./internal/scheduler", "TestTheOneWhoTakesOverStartsWithAnEmptyBucket"},
	{"a small call after a while", "internal/scheduler/circuit.go", `if c.size == 0 && time.Since(c.answer) > trustFor {`, `if false {`,
		"./internal/scheduler", "TestAnEndpointThatIsDownForSixHoursCostsOneAttemptEachProbe|TestARetryEndpointThatIsDownForSixHoursBurnsOneAttemptEachProbe"},
	{"the circuit", "internal/scheduler/circuit.go", `c.fails >= circuitAfter || c.size > 0`, `false`,
		"./internal/scheduler", "Circuit|Outage|Probe|503"},
	{"claims of the dead count", "internal/store/claim.go", `text = 'retryd stopped before the answer was written' WHERE`, `text = '' WHERE 1 = 0 AND`,
		"./internal/store", "TestClaimsThatAreLeftBehindAreUnknownAndCount"},
	{"a notice is written with the end", "internal/store/close.go", `return closed, forRows(c.rows(closed), func(rows string) error {`, `return closed, forRows(c.rows(closed[:0]), func(rows string) error {`,
		"./torture", "TestKilledBetweenAnEndAndItsNotice"},
	{"a digest is one replica's", "internal/store/notices_digest.go", `micros(tx.now.Add(sub.Hold))`, `micros(tx.now)`,
		"./internal/store", "TestOfSeveralReplicasOneSends"},
	{"a request that was left is not done again", "internal/store/requests.go", "{RequestFailed, cutOff, `state = 'running'`, nil}", "{RequestWaiting, cutOff, `state = 'running'`, nil}",
		"./internal/store", "TestARequestThatWasLeftBehindHasFailedAndIsNotTakenTwice"},
	{"an idempotency key", "internal/store/actions.go", `if again, err = repeated(ctx, tx, a, &answer); err != nil || again {`, `if err != nil {`,
		"./internal/store", "TestAnActionWithAKeyHappensOnce"},
	{"a key is of one request", "internal/store/actions.go", `case fingerprint != a.Fingerprint:`, `case false:`,
		"./internal/store", "TestAnActionWithAKeyHappensOnce"},
	{"a person does not go past an open attempt", "internal/policy/decide.go", `case r.OpenTask != "":` + "\n\t\treturn", `case r.OpenTask != "" && !f.Past.Named:` + "\n\t\treturn",
		"./internal/policy", "TestWhatAPersonGoesPastForEachReasonOfATarget"},
	{"a person does not go past a newer task", "internal/policy/decide.go", `p.Tasks.Superseded == SupersededSkip && f.NewerBy != ""`, `p.Tasks.Superseded == SupersededSkip && f.NewerBy != "" && !f.Past.Named`,
		"./internal/policy", "TestWhatAPersonGoesPastForEachReasonOfATarget"},
	{"a person does not go past a halt", "internal/policy/decide.go", `if f.Halted != "" {`, `if f.Halted != "" && !f.Past.Named {`,
		"./internal/policy", "TestWhatAPersonGoesPastForEachReasonOfATask"},
	{"past max is one attempt more", "internal/policy/past.go", `max(c.Max, r.Counted+1)`, `1000`,
		"./internal/policy", "TestWhatAPersonGoesPastForEachReasonOfATarget"},
	{"a request is one attempt of a target", "internal/scheduler/ahead.go", `wave.Subtasks = t.hand.untried(wave.Subtasks)`, ``,
		"./internal/scheduler", "TestOneRequestIsOneAttemptOfATargetHoweverOftenItIsRead|TestOneRequestIsOneAttemptOfATargetThatMovesFromStatusToStatus"},
	{"what a request has tried is counted", "internal/scheduler/ahead.go", `p.counted, p.done = tried, true`, `p.counted, p.done = tried[:0], true`,
		"./internal/scheduler", "TestOneRequestIsOneAttemptOfATargetHoweverOftenItIsRead"},
	{"a plan observes nothing else", "internal/scheduler/byhand.go", `if c.dry == nil {`, `if true {`,
		"./internal/scheduler", "TestAPlanObservesNothingButWhatItIsAskedFor"},
	{"a sweep by hand fails with its request", "internal/store/requests.go", `if err := endLeftSweeps(ctx, tx, identity); err != nil {`, `if err := error(nil); err != nil {`,
		"./internal/store", "TestASweepByHandThatWasLeftBehindHasFailedWithItsRequest"},
	{"an end is of what was decided on", "internal/store/close.go", `return r.N == c.LastN && r.Counted == c.Attempts`, `return true`,
		"./internal/store", "TestATargetThatWasForgivenOrRetriedSinceItWasDecidedOnIsNotClosed"},
	{"who may act", "internal/web/act.go", `if caller.Refused != "" {`, `if false {`,
		"./cmd/retryd", "TestAnAdminActsOverHTTPAndNobodyElseDoes"},
	{"an approval is of the policy that was looked at", "internal/web/act_approve.go", `case body.PolicyHash != "" && body.PolicyHash != p.Hash:`, `case false:`,
		"./internal/web", "TestAnApprovalIsForThePolicyThatWasLookedAt"},
}

// TestEachGuardIsInItsPlace keeps the list true: the guards are there, and the proofs that are named.
func TestEachGuardIsInItsPlace(t *testing.T) {
	for _, m := range all {
		text, err := os.ReadFile(filepath.Join("..", m.file))
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(text), m.old), "%s: %s is in %s once", m.guard, m.old, m.file)
		proofs := ""
		files, err := filepath.Glob(filepath.Join("..", m.proof, "*_test.go"))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			proofs += string(text)
		}
		for _, name := range regexp.MustCompile(`Test\w+`).FindAllString(m.tests, -1) {
			require.True(t, strings.Contains(proofs, "func "+name), "%s: there is no %s", m.guard, name)
		}
	}
}

// TestAProofFailsWithoutEachGuard takes one guard out at a time and runs the proofs.
func TestAProofFailsWithoutEachGuard(t *testing.T) {
	if !*mutants {
		t.Log("-mutants does it; it takes minutes") // what it stands on is looked at above
		return
	}
	copied := copyTree(t)
	failed := regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	for _, m := range all {
		t.Run(strings.ReplaceAll(m.guard, " ", "-"), func(t *testing.T) {
			file := filepath.Join(copied, m.file)
			whole, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(whole), m.old, m.new, 1)), 0o600))
			defer func() { require.NoError(t, os.WriteFile(file, whole, 0o600)) }()
			c := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-timeout=5m", "-run", m.tests, m.proof)
			c.Dir = copied
			out, err := c.CombinedOutput()
			names := failed.FindAllStringSubmatch(string(out), 3)
			if err == nil || len(names) == 0 {
				t.Fatalf("no proof fails without it\n%s", out)
			}
			for _, n := range names {
				t.Logf("without %s fails %s", m.guard, n[1])
			}
		})
	}
}

// copyTree copies the module.
func copyTree(t *testing.T) string {
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	to := filepath.Join(t.TempDir(), "retryd")
	require.NoError(t, os.CopyFS(to, os.DirFS(root)))
	return to
}
