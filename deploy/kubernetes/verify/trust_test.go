package verify

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The program's own list is there for images without one. Where there is one it is taken instead, so that an
// authority can be added, or distrusted, without a new image.
func TestAListOfAuthoritiesThatIsMountedTakesThePlaceOfTheProgramsOwn(t *testing.T) {
	platform := httptest.NewTLSServer(http.NotFoundHandler())
	defer platform.Close()
	c := theContainer(t)
	c.configure(t, map[string]string{"retryd.yaml": strings.ReplaceAll(fleetConfig(freePort(t)), "http://127.0.0.1:9", platform.URL)})
	text, code := c.run(t, "check", "--connect")
	require.Equal(t, 1, code, text)
	require.Contains(t, text, "authority", "the platform's certificate is of an authority that nobody knows")
	list := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: platform.Certificate().Raw}))
	c.mounts["/etc/ssl/certs"] = volume(t, map[string]string{"ca-certificates.crt": list}, 0o644)
	text, code = c.run(t, "check", "--connect")
	require.Equal(t, 1, code, text)
	require.NotContains(t, text, "authority")
	require.Contains(t, text, "404", "the certificate was taken, and the platform asked")
}
