package notify_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/notify"
)

// Verify tells whether a digest came from retryd, and just now. header is its Retryd-Signature;
// body is what was sent, before anything has parsed it.
func Verify(secret, header string, body []byte, now time.Time) bool {
	signed, signature, _ := strings.Cut(strings.TrimPrefix(header, "t="), ",v1=")
	at, err := strconv.ParseInt(signed, 10, 64)
	if err != nil || now.Sub(time.Unix(at, 0)).Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed + "."))
	mac.Write(body)
	return hmac.Equal([]byte(signature), []byte(hex.EncodeToString(mac.Sum(nil))))
}

func TestTheSignatureOfADigestCanBeVerified(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	s.known()
	s.closes("a")
	require.Equal(t, notify.Sent, s.try())
	d := s.deliveries()[0]
	header := d.header.Get("Retryd-Signature")
	require.True(t, Verify(key, header, d.body, time.Now()))
	require.True(t, Verify(key, header, d.body, time.Now().Add(4*time.Minute)))
	require.False(t, Verify(key, header, d.body, time.Now().Add(6*time.Minute)), "somebody sends it again")
	require.False(t, Verify("another", header, d.body, time.Now()))
	require.False(t, Verify(key, header, append(d.body, ' '), time.Now()))
	require.False(t, Verify(key, strings.Replace(header, "t=", "t=1", 1), d.body, time.Now()))
	for i := range header {
		require.False(t, Verify(key, header[:i], d.body, time.Now()))
	}
	s.receiver.Secret = ""
	s.closes("b")
	require.Equal(t, notify.Sent, s.try())
	require.Empty(t, s.deliveries()[1].header.Values("Retryd-Signature"))
}

// TestASignatureIsWhatOpenSSLComesTo has what `printf '1764043200.{}' | openssl dgst -sha256 -hmac
// sign-with-this` gives.
func TestASignatureIsWhatOpenSSLComesTo(t *testing.T) {
	t.Parallel()
	require.Equal(t, "t=1764043200,v1=2940499fbc021ab4bbddcdd094588c8f8fdec81df1ed09f877a86dc78162064b", notify.Sign(key, []byte("{}"), time.Unix(1764043200, 0)))
}
