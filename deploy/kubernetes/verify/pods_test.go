package verify

import (
	"testing"

	"github.com/stretchr/testify/require"
	core "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// TestEveryPodIsRestricted asks the code that the API server itself asks, and for more than that.
func TestEveryPodIsRestricted(t *testing.T) {
	for name, values := range sets() {
		o, err := render(t, values)
		require.NoError(t, err, name)
		restricted(t, name, podOf(t, o))
	}
	for _, folder := range []string{base, example} {
		restricted(t, folder, podOf(t, build(t, folder)))
	}
}

func restricted(t *testing.T, name string, pod core.PodTemplateSpec) {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	require.NoError(t, err)
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
		require.True(t, result.Allowed, "%s: %s %s", name, result.ForbiddenReason, result.ForbiddenDetail)
	}
	require.Len(t, pod.Spec.Containers, 1)
	require.Empty(t, pod.Spec.InitContainers)
	c := pod.Spec.Containers[0]
	require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, name)
	require.EqualValues(t, 65532, *pod.Spec.SecurityContext.RunAsUser, name)
	require.EqualValues(t, 65532, *pod.Spec.SecurityContext.FSGroup, name)
	require.False(t, *pod.Spec.AutomountServiceAccountToken, name)
	require.False(t, *pod.Spec.EnableServiceLinks, name)
	// Calls in flight have 5 s, giving leases back 2, listeners 2: see grace, giveUp and serveUntil.
	require.GreaterOrEqual(t, *pod.Spec.TerminationGracePeriodSeconds, int64(15), name)
	require.NotNil(t, c.LivenessProbe, name)
	require.NotNil(t, c.ReadinessProbe, name)
	require.NotEmpty(t, c.Resources.Requests, name)
}

func TestThePodWouldBeRefusedWithoutItsRestrictions(t *testing.T) {
	o, err := render(t, least)
	require.NoError(t, err)
	pod := podOf(t, o)
	pod.Spec.Containers[0].SecurityContext.Capabilities = nil
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	require.NoError(t, err)
	var refused int
	for _, result := range evaluator.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
		if !result.Allowed {
			refused++
		}
	}
	require.Equal(t, 1, refused)
}
