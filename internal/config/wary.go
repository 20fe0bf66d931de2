package config

import (
	"path/filepath"
	"regexp"
)

// placeholder is what `retryd init` writes where nobody has said the value.
var placeholder = regexp.MustCompile(`^<[^<>]*>$`)

// unfilled tells whether a value is a placeholder still, which it names as a problem.
func (d *decoder) unfilled(a at, key, value, hint string) bool {
	if !placeholder.MatchString(value) {
		return false
	}
	d.problem(a.of(key), "%s is to be filled in: %s", key, hint)
	return true
}

var regionForm = regexp.MustCompile(`^[a-z0-9-]+$`)

var projectID = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)

// wary looks at a connection for what can be, and is hardly meant.
func (d *decoder) wary(r *rawConnection, c Connection) {
	if projectForm.MatchString(r.ProjectID) && !projectID.MatchString(r.ProjectID) {
		d.warn(r.of("project_id"), "project_id is not 32 hex digits, as the console's My Credentials shows it: is it the project's name?")
	}
	if d.unfilled(r.at, "region", r.Region, "where the instance is, such as cn-north-4") {
		return
	}
	switch at := RegionOf(c.Endpoint); {
	case r.Region == "" || r.Region == at:
	case at != "":
		d.warn(r.of("region"), "region is %s and the endpoint is in %s: derived signatures, and IAM's address, go by region", clip(r.Region), at)
	case !regionForm.MatchString(r.Region):
		d.warn(r.of("region"), "region is no region's id, such as cn-north-4: derived signatures, and IAM's address, go by region")
	}
}

// unused looks for budgets that no connection names.
func (d *decoder) unused(r *rawFile) {
	named := map[string]bool{}
	for i := range r.Connections {
		named[r.Connections[i].Budget] = true
	}
	for i := range r.Budgets {
		if b := &r.Budgets[i]; b.node != nil && b.Name != "" && !named[b.Name] {
			d.warn(b.of("name"), "no connection names budget %q: its rate holds for nobody", clip(b.Name))
		}
	}
}

// unread names the files of folders that are left out for how their names end.
func unread(paths []string) (p Problems) {
	for _, path := range paths {
		files, _ := filepath.Glob(filepath.Join(path, "*.yml")) // the pattern is good but for what path has in it
		for _, file := range files {
			p = append(p, Problem{file, 1, 1, "this file is not read: of a folder, files named *.yaml are", false, false})
		}
	}
	return p
}
