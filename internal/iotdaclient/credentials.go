package iotdaclient

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
)

// Credentials sign a request, or carry a token. Exactly one of AccessKey, TokenFile and
// Token is set.
type Credentials struct {
	AccessKey     string
	SecretKey     string
	SecurityToken string // with a temporary key
	Signing       Signing
	TokenFile     string // X-Auth-Token, read for each call so that a renewed one is used at once
	Token         string
}

// Signing chooses the form of the signature.
type Signing string

// The forms of the signature.
const (
	SigningAuto    Signing = "auto"    // as the official SDK chooses by the host
	SigningBasic   Signing = "basic"   // SDK-HMAC-SHA256: basic edition
	SigningDerived Signing = "derived" // V11-HMAC-SHA256: standard and enterprise editions
)

func (c Credentials) token() (string, error) {
	if c.TokenFile == "" {
		return c.Token, nil
	}
	data, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("token file %s is empty", c.TokenFile)
	}
	return token, nil
}

// hash names the credentials without showing them. A platform's lock is on the access
// key, so two secrets of one key are one; a new token is a new credential.
func (c Credentials) hash() ([sha256.Size]byte, error) {
	if c.AccessKey != "" {
		return sha256.Sum256([]byte(c.AccessKey)), nil
	}
	token, err := c.token()
	return sha256.Sum256([]byte(token)), err
}
