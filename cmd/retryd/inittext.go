package main

import (
	"cmp"
	_ "embed"
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"

	"retryd/internal/config"
)

// initText is the configuration with $ before what is to be put in.
//
//go:embed init.yaml
var initText string

// text gives the configuration. What is not known is a placeholder, which check names.
func (c initCmd) text() string {
	region := "# region: cn-north-4"
	switch said := config.RegionOf(c.Endpoint); {
	case c.needsRegion():
		region = "region: " + inYAML(cmp.Or(c.Region, "<region>"))
	case said != "":
		region = "# region: " + said + ", as it says"
	}
	instance := `# instance_id: ""`
	if c.InstanceID != "" {
		instance = "instance_id: " + inYAML(c.InstanceID)
	}
	return strings.NewReplacer(
		"$name", inYAML(cmp.Or(c.Name, "prod")), "$endpoint", inYAML(cmp.Or(c.Endpoint, "<endpoint>")),
		"$project_id", inYAML(cmp.Or(c.ProjectID, "<project_id>")), "$region", region, "$instance_id", instance,
	).Replace(initText)
}

// needsRegion tells whether the endpoint does not say the region, or somebody says another.
func (c initCmd) needsRegion() bool {
	return c.Region != "" || c.Endpoint != "" && config.RegionOf(c.Endpoint) == ""
}

// missing gives the keys that are still to be filled in.
func (c initCmd) missing() (keys []string) {
	for _, q := range questions {
		if *q.value(&c) == "" && q.needed(c) && q.otherwise == "" {
			keys = append(keys, q.key)
		}
	}
	return keys
}

// problemOf says what check would say of a key's value: what is wrong with it, or what is unwise. Both are
// empty if that is nothing.
func (c initCmd) problemOf(key string) (wrong, unwise string) {
	// Credentials are found when a call is made: what is in the environment makes no difference.
	loaded, err := config.Parse("init", []byte(c.text()), func(string) (string, bool) { return "", false })
	var problems config.Problems
	errors.As(err, &problems)
	warnings := config.WarningsOf(err)
	if err == nil {
		warnings = loaded.Warnings
	}
	return about(key, problems), about(key, warnings)
}

// about gives what is said of a key.
func about(key string, said config.Problems) string {
	for _, p := range said {
		if strings.HasPrefix(p.Message, key+" ") {
			return p.Message
		}
	}
	return ""
}

// inYAML writes a text as a value. ${ would be read as a variable.
func inYAML(text string) string {
	data, err := yaml.Marshal(strings.ReplaceAll(text, "${", "$${"))
	if err != nil {
		panic(err) // it is a text
	}
	line := strings.TrimSpace(string(data))
	if strings.ContainsAny(line, "\n") { // a text of several lines is nothing that a key can have
		return `"` + strings.NewReplacer("\\", "\\\\", `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(text) + `"`
	}
	return line
}
