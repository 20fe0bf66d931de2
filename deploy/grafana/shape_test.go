package grafana_test

// How a panel differs from others of its type.

func (p *panel) wide(n int) *panel { p.GridPos.W = n; return p }
func (p *panel) tall(n int) *panel { p.GridPos.H = n; return p }

// counts shows whole numbers: what increase() makes of a counter is not one.
func (p *panel) counts() *panel {
	p.FieldConfig.Defaults.Decimals = new(int)
	return p
}

// ratio goes from 0 to 1.
func (p *panel) ratio() *panel {
	one := 1.0
	p.FieldConfig.Defaults.Min, p.FieldConfig.Defaults.Max = new(float64), &one
	return p
}

// signed may fall below 0.
func (p *panel) signed() *panel { p.FieldConfig.Defaults.Min = nil; return p }

// empty says what it means that there is nothing to show.
func (p *panel) empty(text string) *panel { p.FieldConfig.Defaults.NoValue = text; return p }

func (p *panel) stacked() *panel {
	p.FieldConfig.Defaults.Custom["stacking"] = object{"mode": "normal", "group": "A"}
	p.FieldConfig.Defaults.Custom["fillOpacity"] = 40
	return p
}

// steps holds its value until the next one, as a limit or a state does.
func (p *panel) steps() *panel {
	p.FieldConfig.Defaults.Custom["lineInterpolation"] = "stepAfter"
	return p
}

// right puts a long legend where it can be read.
func (p *panel) right() *panel {
	p.Options["legend"] = object{"displayMode": "table", "placement": "right", "showLegend": true, "calcs": []string{"lastNotNull"}}
	return p
}

// from colours what is at or above each value; below is the colour of what is under all of them.
func (p *panel) from(below string, steps ...step) *panel {
	p.FieldConfig.Defaults.Thresholds = &thresholds{Mode: "absolute", Steps: append([]step{{Color: below}}, steps...)}
	if p.Type == "timeseries" {
		p.FieldConfig.Defaults.Custom["thresholdsStyle"] = object{"mode": "dashed"}
	}
	return p
}

func at(value float64, color string) step { return step{Value: &value, Color: color} }

// says gives values words.
func (p *panel) says(words map[string]object) *panel {
	p.FieldConfig.Defaults.Mappings = []object{{"type": "value", "options": words}}
	return p
}

func word(text, color string, index int) object {
	return object{"text": text, "color": color, "index": index}
}

// colors gives legends the colour of what they mean.
func (p *panel) colors(names ...string) *panel {
	for i := 0; i < len(names); i += 2 {
		p.override(names[i], object{"id": "color", "value": object{"mode": "fixed", "fixedColor": names[i+1]}})
	}
	return p
}

// column gives one column of a table its unit.
func (p *panel) column(name, unit string, more ...object) *panel {
	return p.override(name, append([]object{{"id": "unit", "value": unit}}, more...)...)
}

func (p *panel) override(name string, properties ...object) *panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{Matcher: object{"id": "byName", "options": name}, Properties: properties})
	return p
}

// columns joins a table's targets by their labels, and names its columns in their order.
func (p *panel) columns(fromTo ...string) *panel {
	order, names := object{}, object{}
	for i := 0; i < len(fromTo); i += 2 {
		order[fromTo[i]], names[fromTo[i]] = i/2, fromTo[i+1]
	}
	p.Transformations = []object{
		{"id": "merge", "options": object{}},
		{"id": "organize", "options": object{"indexByName": order, "renameByName": names, "excludeByName": object{"Time": true}}},
	}
	return p
}

// hideColumns leaves columns out: a target that is asked for its labels has a value too.
func (p *panel) hideColumns(names ...string) *panel {
	for _, name := range names {
		p.Transformations[1]["options"].(object)["excludeByName"].(object)[name] = true
	}
	return p
}
