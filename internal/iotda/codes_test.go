package iotda_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"retryd/internal/iotda"
)

func TestIsAPICode(t *testing.T) {
	for code, want := range map[string]bool{
		"IOTDA.014219": true, "APIG.0308": true, "APIGW.0301": true, "IOTDA.0xxxxx": true,
		"": false, "IOTDA": false, "IOTDA.": false, "APIG.": false, "APIGW.": false, "APIGX.0301": false,
		"404": false, " IOTDA.014219": false, "iotda.014219": false, "NGINX.404": false, "SVCSTG.IOTDA.1": false,
	} {
		assert.Equal(t, want, iotda.IsAPICode(code), "%q", code)
	}
}

// The rows are those of the table of iotda-api.md section 3.
func TestClassify(t *testing.T) {
	for _, row := range []struct {
		status int
		code   string
		want   iotda.Class
	}{
		{404, "IOTDA.014999", iotda.ClassNotFound}, // the code of a missing task is not known
		{400, "IOTDA.014998", iotda.ClassRefused},  // nor that of a task in the wrong status
		{403, "IOTDA.014998", iotda.ClassPermission},
		{400, "IOTDA.000006", iotda.ClassRefused},
		{400, "IOTDA.000008", iotda.ClassRefused},
		{400, "IOTDA.000009", iotda.ClassRefused},
		{400, "IOTDA.000017", iotda.ClassRefused},
		{401, "IOTDA.000002", iotda.ClassAuth},
		{403, "IOTDA.000004", iotda.ClassAuth},
		{403, "IOTDA.000021", iotda.ClassPermission},
		{403, "IOTDA.000034", iotda.ClassPermission},
		{404, "IOTDA.000029", iotda.ClassNotFound},
		{403, "IOTDA.000029", iotda.ClassPermission},
		{404, "IOTDA.014000", iotda.ClassNotFound},
		{403, "IOTDA.014016", iotda.ClassTransient},
		{400, "IOTDA.014111", iotda.ClassTransient},
		{400, "IOTDA.014112", iotda.ClassTransient},
		{403, "IOTDA.021101", iotda.ClassThrottled},
		{403, "IOTDA.021102", iotda.ClassThrottled},
		{401, "APIGW.0301", iotda.ClassAuth},
		{429, "APIGW.0308", iotda.ClassThrottled},
		{403, "APIGW.0308", iotda.ClassThrottled},
		{403, "APIGW.0302", iotda.ClassPermission},
		{401, "APIGW.0303", iotda.ClassAuth},
		{403, "APIGW.0304", iotda.ClassPermission},
		{401, "APIGW.0305", iotda.ClassAuth},
		{403, "APIGW.0306", iotda.ClassPermission},
		{401, "APIGW.0307", iotda.ClassAuth},
		{403, "APIGW.0307", iotda.ClassAuth},
		{404, "APIGW.0101", iotda.ClassNotFound},
		{400, "APIGW.0201", iotda.ClassRefused},
		{413, "APIGW.0201", iotda.ClassRefused},
		{500, "APIGW.0602", iotda.ClassTransient},
		{504, "APIGW.0611", iotda.ClassTransient},
	} {
		assert.Equal(t, row.want, iotda.Classify(row.status, row.code), "%d %s", row.status, row.code)
		if rest, ok := strings.CutPrefix(row.code, "APIGW."); ok {
			assert.Equal(t, row.want, iotda.Classify(row.status, "APIG."+rest), "%d APIG.%s", row.status, rest)
		}
	}
}

func TestAnAnswerWithoutACodeIsNotTheAPIs(t *testing.T) {
	for status, want := range map[int]iotda.Class{
		302: iotda.ClassBroken,
		400: iotda.ClassBroken,
		403: iotda.ClassBroken,
		404: iotda.ClassBroken, // a proxy's page must not make a task vanish
		413: iotda.ClassBroken,
		401: iotda.ClassAuth, // counts towards the lock whoever wrote the body
		429: iotda.ClassThrottled,
		500: iotda.ClassTransient,
		502: iotda.ClassTransient,
		503: iotda.ClassTransient,
	} {
		assert.Equal(t, want, iotda.Classify(status, ""), "%d", status)
		assert.Equal(t, want, iotda.Classify(status, "NGINX.1"), "%d with a code of something else", status)
	}
}

func TestA401IsNeverAnythingThatIsRepeatedBlindly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code := rapid.StringMatching(`(IOTDA\.|APIG\.|APIGW\.|)[0-9]{0,6}`).Draw(t, "code")
		got := iotda.Classify(401, code)
		if got != iotda.ClassAuth {
			assert.NotEqual(t, got, iotda.Classify(418, "IOTDA.999999"), "only a known code changes what 401 means")
		}
	})
}
