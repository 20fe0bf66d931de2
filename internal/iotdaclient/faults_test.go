package iotdaclient_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
)

// TestEachRefusalHasItsClass goes through the table of iotda-api.md section 3.
func TestEachRefusalHasItsClass(t *testing.T) {
	for class, faults := range map[iotda.Class][]emulator.Fault{
		iotda.ClassAuth: {
			emulator.Refusal(401, "IOTDA.000002"), emulator.Refusal(401, "APIGW.0301"), emulator.Refusal(401, "APIG.0301"), emulator.Refusal(401, "APIGW.0303"),
			emulator.Refusal(401, "APIGW.0305"), emulator.Refusal(401, "APIGW.0307"), emulator.Refusal(403, "IOTDA.000004"), emulator.Bare(401),
		},
		iotda.ClassPermission: {
			emulator.Refusal(403, "IOTDA.000021"), emulator.Refusal(403, "IOTDA.000029"), emulator.Refusal(403, "IOTDA.000034"), emulator.Refusal(403, "APIGW.0302"),
			emulator.Refusal(403, "APIGW.0304"), emulator.Refusal(403, "APIGW.0306"), emulator.FaultRefused,
		},
		iotda.ClassThrottled: {
			emulator.Refusal(403, "IOTDA.021101"), emulator.Refusal(403, "IOTDA.021102"), emulator.Refusal(429, "APIGW.0308"), emulator.Refusal(429, "APIG.0308"),
			emulator.Page(429), emulator.Bare(429), emulator.FaultThrottled, emulator.FaultThrottledHour,
		},
		iotda.ClassTransient: {
			emulator.Refusal(403, "IOTDA.014016"), emulator.Refusal(500, "IOTDA.000005"), emulator.Refusal(503, "APIGW.0602"), emulator.Refusal(504, "APIGW.0605"),
			emulator.Page(504), emulator.Bare(500), emulator.Bare(503), emulator.Fault500Applied, emulator.Fault504Applied, emulator.FaultCutBody,
		},
		iotda.ClassNotFound: {emulator.Refusal(404, "IOTDA.000029"), emulator.Refusal(404, "APIGW.0101"), emulator.FaultGone, emulator.FaultOtherInstance},
		iotda.ClassRefused: {
			emulator.Refusal(400, "IOTDA.000006"), emulator.Refusal(400, "IOTDA.000008"), emulator.Refusal(400, "IOTDA.000017"), emulator.Refusal(400, "APIGW.0201"),
			emulator.Refusal(413, "APIGW.0201"),
		},
		iotda.ClassBroken: {emulator.Page(403), emulator.Page(404), emulator.FaultHTML, emulator.FaultRedirect, emulator.FaultEmpty, emulator.FaultWrongTypes},
	} {
		for _, fault := range faults {
			e := platform(emulator.Options{})
			id := addTask(t, e, 1)
			e.SetFault(emulator.Schedule(emulator.Step{Fault: fault}))
			_, err := client(t, e, nil).RetryTask(t.Context(), id, []string{"d-0000"}, nil)
			require.NotNil(t, err, fault)
			require.Equal(t, class, err.Class, fault)
		}
	}
}

// TestWhatIsSaidOfARetryIsTrueUnderEveryFault: what is said to have had no effect had none, and
// what is said to be accepted was.
func TestWhatIsSaidOfARetryIsTrueUnderEveryFault(t *testing.T) {
	t.Parallel()
	for _, fault := range emulator.AllFaults() {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			e := platform(emulator.Options{Slow: 5 * time.Second, Huge: 8 << 20})
			id := addTask(t, e, 1)
			e.SetFault(emulator.Schedule(emulator.Step{Fault: fault}))
			c := client(t, e, func(o *iotdaclient.Options) { o.Timeout = 3 * time.Second })
			answer, err := c.RetryTask(t.Context(), id, []string{"d-0000"}, nil)
			require.Eventually(t, func() bool { return fault != emulator.FaultLate || len(e.Retries()) == 1 }, 20*time.Second, 10*time.Millisecond)
			applied := len(e.Retries()) == 1
			switch {
			case err != nil && err.NoEffect():
				require.False(t, applied)
			case err == nil && answer.Targets["d-0000"].Result == iotdaclient.Accepted:
				require.True(t, applied)
			case err == nil:
				require.Equal(t, iotdaclient.Unknown, answer.Targets["d-0000"].Result)
			}
			require.Len(t, e.Calls(), 1, "it is sent once")
		})
	}
}

func TestAReplyThatIsTooLargeIsAnErrorOfItsCall(t *testing.T) {
	t.Parallel()
	e := platform(emulator.Options{Huge: 97 << 20})
	id := addTask(t, e, 1)
	e.SetFault(emulator.Schedule(emulator.Step{Op: "RetryBatchTask", Fault: emulator.FaultHuge}))
	c := client(t, e, func(o *iotdaclient.Options) { o.Timeout = 30 * time.Second })
	_, err := c.RetryTask(t.Context(), id, []string{"d-0000"}, nil)
	require.NotNil(t, err)
	require.ErrorContains(t, err, "the reply is larger than 96 MB")
	require.False(t, err.NoEffect())
	_, e2 := c.Subtasks(t.Context(), id, iotdaclient.Query{}, "", 0)
	require.NoError(t, e2, "and of no other")
}
