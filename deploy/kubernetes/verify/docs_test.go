package verify

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	core "k8s.io/api/core/v1"
)

func TestTheDocumentBuildsWithEveryArgumentOfTheDockerfile(t *testing.T) {
	text := string(read(t, root, "docs/installing-container.md"))
	_, line, found := strings.Cut(text, "docker buildx build ")
	require.True(t, found)
	line, _, _ = strings.Cut(line, "\n\n")
	arguments := regexp.MustCompile(`(?m)^ARG (\w+)`).FindAllStringSubmatch(string(read(t, root, "deploy/container/Dockerfile")), -1)
	require.NotEmpty(t, arguments)
	for _, a := range arguments {
		if a[1] != "TARGETARCH" { // buildx sets it, for each platform
			require.Contains(t, line, "--build-arg "+a[1]+"=")
		}
	}
}

// What the daemon refuses to change while it runs, the document names.
func TestTheDocumentNamesWhatNeedsARestart(t *testing.T) {
	text := string(read(t, root, "docs/installing-kubernetes.md"))
	_, part, found := strings.Cut(text, "needs `kubectl rollout restart`")
	require.True(t, found)
	part, _, _ = strings.Cut(part, "\n- **")
	_, code, found := strings.Cut(string(read(t, root, "internal/config/config.go")), "NeedRestart(running *Config) Problems {")
	require.True(t, found)
	keys := regexp.MustCompile(`(?m)^\t\t\{(?:"(\w+)"|c\.raw\.Store\.(url)Key\(\)), c\.raw\.(\w+)\.at,`).FindAllStringSubmatch(code, -1)
	require.GreaterOrEqual(t, len(keys), 7)
	for _, key := range keys {
		require.Contains(t, part, "`"+strings.ToLower(key[3])+"."+key[1]+key[2]+"`")
	}
	for _, key := range []string{"TLS on or off", "`http2`", "`rate_limit`"} {
		require.Contains(t, part, key)
	}
}

func TestTheDocumentsValuesAreTakenAndTheirAddressesAreToBeFilledIn(t *testing.T) {
	_, values, found := strings.Cut(string(read(t, root, "docs/installing-kubernetes.md")), "```yaml\n# values.yaml\n")
	require.True(t, found)
	values, _, _ = strings.Cut(values, "```")
	require.Contains(t, values, "endpoint: <endpoint> ")
	require.Contains(t, values, "project_id: <project_id> ")
	o, err := render(t, values)
	require.NoError(t, err)
	require.Contains(t, get[core.ConfigMap](t, o, "ConfigMap/retryd").Data["retryd.yaml"], "<endpoint>")
}
