package emulator_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	iamsdk "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iam/v3"
	iammodel "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iam/v3/model"
	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
)

func iamPlatform(life time.Duration) *emulator.Emulator {
	return emulator.New(emulator.Options{ProjectID: project, Users: []emulator.User{{Domain: "acme", Name: "robot", Password: "right"}}, TokenLife: life})
}

func TestTheOfficialClientGetsATokenThatIsAccepted(t *testing.T) {
	e := iamPlatform(0)
	server := httptest.NewServer(e.IAM())
	defer server.Close()
	credentials, err := global.NewCredentialsBuilder().WithAk("key").WithSk("secret").WithDomainId("acme").SafeBuild()
	require.NoError(t, err)
	hc, err := iamsdk.IamClientBuilder().WithRegion(region.NewRegion("cn-north-4", server.URL)).WithCredential(credentials).
		WithHttpConfig(config.DefaultHttpConfig().WithTimeout(10 * time.Second)).SafeBuild()
	require.NoError(t, err)
	client, id, yes := iamsdk.NewIamClient(hc), project, "true"
	get := func(password string) (*iammodel.KeystoneCreateUserTokenByPasswordResponse, error) {
		return client.KeystoneCreateUserTokenByPassword(&iammodel.KeystoneCreateUserTokenByPasswordRequest{
			Nocatalog: &yes,
			Body: &iammodel.KeystoneCreateUserTokenByPasswordRequestBody{Auth: &iammodel.PwdAuth{
				Identity: &iammodel.PwdIdentity{
					Methods: []iammodel.PwdIdentityMethods{iammodel.GetPwdIdentityMethodsEnum().PASSWORD},
					Password: &iammodel.PwdPassword{User: &iammodel.PwdPasswordUser{
						Domain: &iammodel.PwdPasswordUserDomain{Name: "acme"}, Name: "robot", Password: password,
					}},
				},
				Scope: &iammodel.AuthScope{Project: &iammodel.AuthScopeProject{Id: &id}},
			}},
		})
	}
	reply, err := get("right")
	require.NoError(t, err)
	ends, err := time.Parse(time.RFC3339, reply.Token.ExpiresAt)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(24*time.Hour), ends, time.Minute)
	require.Equal(t, http.StatusOK, listWith(e, *reply.XSubjectToken).Code)

	_, err = get("wrong")
	var refused *sdkerr.ServiceResponseError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 401, refused.StatusCode)
	require.Contains(t, refused.ErrorMessage, "The username or password is wrong.")
	logins := e.Logins()
	require.Len(t, logins, 2)
	require.True(t, logins[0].Accepted && logins[0].User == "robot" && logins[0].Domain == "acme" && !logins[1].Accepted)
}

func listWith(e *emulator.Emulator, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/v5/iot/"+project+"/batchtasks?task_type=firmwareUpgrade", nil)
	r.Header.Set("X-Auth-Token", token)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func logIn(e *emulator.Emulator, kind, sent string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v3/auth/tokens", strings.NewReader(sent))
	r.Header.Set("Content-Type", kind)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func body(user, password, scope string) string {
	return `{"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"name":"acme"},"name":"` + user + `","password":"` + password + `"}}},"scope":{"project":{"id":"` + scope + `"}}}}`
}

func TestTokensEndAndAreRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := iamPlatform(time.Hour)
		token := logIn(e, "application/json", body("robot", "right", project)).Header().Get("X-Subject-Token")
		time.Sleep(time.Hour - time.Second)
		require.Equal(t, http.StatusOK, listWith(e, token).Code)
		time.Sleep(time.Second)
		w := listWith(e, token)
		require.Equal(t, http.StatusUnauthorized, w.Code)
		require.Contains(t, w.Body.String(), `"error_code":"APIGW.0301"`)
		require.Contains(t, w.Body.String(), "token expires, expires_at: 2000-01-01T01:00:00.000000Z")

		token = logIn(e, "application/json;charset=UTF-8", body("robot", "right", project)).Header().Get("X-Subject-Token")
		require.Equal(t, http.StatusOK, listWith(e, token).Code)
		e.RevokeTokens()
		require.Contains(t, listWith(e, token).Body.String(), "decrypt token fail")
	})
}

func TestIAMIsStrict(t *testing.T) {
	e := iamPlatform(0)
	good := body("robot", "right", project)
	for name, c := range map[string]struct {
		kind, body string
		status     int
	}{
		"good":             {"application/json", good, 201},
		"no media type":    {"", good, 400},
		"no scope":         {"application/json", body("robot", "right", ""), 400},
		"another project":  {"application/json", body("robot", "right", "other"), 403},
		"another method":   {"application/json", strings.Replace(good, `["password"]`, `["token"]`, 1), 400},
		"an unknown field": {"application/json", strings.Replace(good, `"scope":{`, `"scope":{"x":1,`, 1), 400},
		"not JSON":         {"application/json", "auth", 400},
		"nobody":           {"application/json", body("nobody", "right", project), 401},
	} {
		w := logIn(e, c.kind, c.body)
		require.Equal(t, c.status, w.Code, name)
		require.Equal(t, c.status == 201, w.Header().Get("X-Subject-Token") != "", name)
	}
}

func TestThreeWrongPasswordsLockTheUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := iamPlatform(0)
		for range 3 {
			require.Equal(t, 401, logIn(e, "application/json", body("robot", "wrong", project)).Code)
			time.Sleep(29 * time.Minute)
		}
		require.Equal(t, 201, logIn(e, "application/json", body("robot", "right", project)).Code, "the lock has ended")
		for range 3 {
			require.Equal(t, 401, logIn(e, "application/json", body("robot", "wrong", project)).Code)
			time.Sleep(31 * time.Second)
		}
		require.Equal(t, 401, logIn(e, "application/json", body("robot", "right", project)).Code, "now the right one is locked too")
		time.Sleep(15 * time.Minute)
		require.Equal(t, 201, logIn(e, "application/json", body("robot", "right", project)).Code)
	})
}
