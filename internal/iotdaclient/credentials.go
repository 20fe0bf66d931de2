package iotdaclient

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"time"

	"retryd/internal/iotda"
)

// Source gives the credentials for calls. Several connections may share one; its methods may
// be called at the same time.
type Source interface {
	// Credential gives those to use now, renewed where they end soon. An error is an *Error,
	// or any other where credentials cannot be read.
	Credential(ctx context.Context) (Credential, error)
	// Renew is told that these were refused. It tells whether other ones may be had by
	// asking again.
	Renew(Credential) bool
}

// Credential is what one call is made with: a key that signs it, or a token that it carries.
type Credential struct {
	AccessKey     string
	SecretKey     string
	SecurityToken string // with a temporary key
	Signing       Signing
	Token         string    // X-Auth-Token, instead of a key
	Expires       time.Time // zero = not known

	guard [sha256.Size]byte // what refusals are counted under, where that is not the key or the token
}

// String hides the secrets from logs.
func (c Credential) String() string {
	name := c.name()
	return fmt.Sprintf("credential %x", name[:4])
}

// GoString hides the secrets from logs.
func (c Credential) GoString() string { return c.String() }

// name is what refusals are counted under. A platform's lock is on the access key, so two
// secrets of one key are one; a new token is a new credential.
func (c Credential) name() [sha256.Size]byte {
	switch {
	case c.guard != [sha256.Size]byte{}:
		return c.guard
	case c.AccessKey != "":
		return sha256.Sum256([]byte(c.AccessKey))
	}
	return sha256.Sum256([]byte(c.Token))
}

// shown gives the first n bytes of what came back, without the secrets that the call sent. It is
// for texts as they are meant, and not as JSON may spell them.
func (c Credential) shown(text string, n int) string {
	return shown(text, n, c.Token, c.SecurityToken, c.SecretKey)
}

// shownMax is more than anything that is shown of a reply that is an error.
const shownMax = 64 << 10

func shown(text string, n int, secrets ...string) string {
	return iotda.Clip(hide(iotda.Clip(text, shownMax), secrets...), n)
}

func hide(text string, secrets ...string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	return text
}

// Signing chooses the form of the signature.
type Signing string

// The forms of the signature.
const (
	SigningAuto    Signing = "auto"    // as the official SDK chooses by the host
	SigningBasic   Signing = "basic"   // SDK-HMAC-SHA256: basic edition
	SigningDerived Signing = "derived" // V11-HMAC-SHA256: standard and enterprise editions
)

// Key is an access key as it is configured.
type Key struct {
	AccessKey     string
	SecretKey     string
	SecurityToken string // with a temporary key, which then ends unseen
	Signing       Signing
}

// Credential gives the key.
func (k Key) Credential(context.Context) (Credential, error) {
	return Credential{AccessKey: k.AccessKey, SecretKey: k.SecretKey, SecurityToken: k.SecurityToken, Signing: k.Signing}, nil
}

// Renew has nothing else to give.
func (k Key) Renew(Credential) bool { return false }

// String hides the secrets from logs.
func (k Key) String() string { return "a key" }

// GoString hides the secrets from logs.
func (k Key) GoString() string { return k.String() }

// Token is a token as it is configured: it ends 24 hours after its issue.
type Token string

// Credential gives the token.
func (t Token) Credential(context.Context) (Credential, error) {
	return Credential{Token: string(t)}, nil
}

// Renew has nothing else to give.
func (t Token) Renew(Credential) bool { return false }

// String hides the secret from logs.
func (t Token) String() string { return "a token" }

// GoString hides the secret from logs.
func (t Token) GoString() string { return t.String() }

// TokenFile is a file with a token, that something else renews. It is read for each call, so
// that a changed one is used at once.
type TokenFile string

// Credential reads the file.
func (f TokenFile) Credential(context.Context) (Credential, error) {
	data, err := os.ReadFile(string(f))
	if err != nil {
		return Credential{}, fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return Credential{}, fmt.Errorf("token file %s is empty", string(f))
	}
	return Credential{Token: token}, nil
}

// Renew tells whether the file has another token by now.
func (f TokenFile) Renew(refused Credential) bool {
	now, err := f.Credential(context.Background())
	return err == nil && now != refused
}
