package config

import (
	"errors"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.ScalarNode {
		d.problem(n, "%s must be %s, not %s", key, wanted(v), kind(n))
		return
	}
	text, ok := d.substitute(n, n.Value)
	if !ok {
		if v.Kind() == reflect.String {
			v.SetString(n.Value) // not empty, which would be a second problem
		}
		return
	}
	switch {
	case v.Type() == durationType:
		duration, err := ParseDuration(text)
		if err != nil {
			d.problem(n, "%s must be a duration such as 30s, 15m, 12h or 14d, not %q", key, clip(text))
		}
		v.SetInt(int64(duration))
	case v.Kind() == reflect.Bool:
		on, err := strconv.ParseBool(text)
		if err != nil || len(text) == 1 {
			d.problem(n, "%s must be true or false, not %q", key, clip(text))
		}
		v.SetBool(on)
	case v.Kind() == reflect.Int:
		number, err := strconv.Atoi(text)
		if err != nil {
			d.problem(n, "%s must be a whole number, not %q", key, clip(text))
		}
		v.SetInt(int64(number))
	case v.Kind() == reflect.Float64:
		number, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
			d.problem(n, "%s must be a number, not %q", key, clip(text))
			number = 0
		}
		v.SetFloat(number)
	default:
		v.SetString(text)
	}
}

func wanted(v reflect.Value) string {
	switch {
	case v.Type() == durationType:
		return "a duration such as 15m"
	case v.Kind() == reflect.Int, v.Kind() == reflect.Float64:
		return "a number"
	case v.Kind() == reflect.Bool:
		return "true or false"
	}
	return "a text"
}

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	return "a single value"
}

var variable = regexp.MustCompile(`\$?\$\{([^}]*)\}`)

// substitute puts in environment variables. $${ stands for ${ itself.
func (d *decoder) substitute(n *yaml.Node, text string) (string, bool) {
	ok := true
	out := variable.ReplaceAllStringFunc(text, func(m string) string {
		if strings.HasPrefix(m, "$$") {
			return m[1:]
		}
		name := m[2 : len(m)-1]
		value, set := d.env(name)
		if !set {
			before := len(d.problems)
			d.problem(n, "the environment variable %s is not set: set it where retryd runs (a service reads EnvironmentFile=), or have a secret in a file, with the key that ends in _file; "+
				"write $${%s} if the text itself is meant", name, name)
			for i := range d.problems[before:] {
				d.problems[before+i].unset = true
			}
			ok = false
		}
		return value
	})
	return out, ok
}

const day = 24 * time.Hour

var days = regexp.MustCompile(`^(\d{1,6})d(.*)$`)

// ParseDuration reads 30m, 12h, 2d or 1d12h: what Go has, and days. Negative ones are refused.
func ParseDuration(text string) (time.Duration, error) {
	total := time.Duration(0)
	if m := days.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil || n > int(math.MaxInt64/day) {
			return 0, errors.New("not a duration")
		}
		total, text = time.Duration(n)*day, m[2]
		if text == "" {
			return total, nil
		}
	}
	if text == "0" {
		return 0, errors.New("no unit")
	}
	rest, err := time.ParseDuration(text)
	if err != nil || rest < 0 || total+rest < total {
		return 0, errors.New("not a duration")
	}
	return total + rest, nil
}
