package config

import (
	"fmt"
	"regexp"
)

// Secret is a text that does not show itself however it is printed.
type Secret string

const hidden = "[hidden]"

// Format writes [hidden] for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// String gives [hidden].
func (s Secret) String() string { return hidden }

// MarshalText gives [hidden], for JSON, YAML and loggers.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Reveal gives the text itself.
func (s Secret) Reveal() string { return string(s) }

var literalSecret = regexp.MustCompile(`(?m)^[^#\n]*\b(secret_key|security_token|value|secret)\s*:\s*["']?[^\s"'$#{]|^[^#\n]*hooks\.slack\.com/services/\w`)
