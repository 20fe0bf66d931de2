package grafana_test

import (
	"fmt"
	"strings"
)

// Which series a panel is about: each selector has what can be chosen at the head of the dashboard.
const (
	ofInstance   = `job=~"$job", instance=~"$instance"`
	ofConnection = ofInstance + `, connection=~"$connection"`
	ofPolicy     = ofConnection + `, policy=~"$policy"`
)

// selectors stand in the queries below for the above, so that a query can be read.
var selectors = strings.NewReplacer("INSTANCE", ofInstance, "CONNECTION", ofConnection, "POLICY", ofPolicy)

var prometheus = datasource{Type: "prometheus", UID: "${datasource}"}

// row is a heading and what is under it, from left to right.
type row struct {
	title  string
	panels []*panel
}

// lay gives a dashboard's panels their ids and places.
func lay(rows ...row) []*panel {
	var all []*panel
	open, y := false, 0
	add := func(p *panel) {
		p.ID = len(all) + 1
		all = append(all, p)
	}
	for _, r := range rows {
		add(&panel{Type: "row", Title: r.title, GridPos: gridPos{H: 1, W: 24, Y: y}, Collapsed: &open, Panels: &[]panel{}})
		y++
		x, high := 0, 0
		for _, p := range r.panels {
			if x+p.GridPos.W > 24 {
				x, y, high = 0, y+high, 0
			}
			p.GridPos.X, p.GridPos.Y = x, y
			x, high = x+p.GridPos.W, max(high, p.GridPos.H)
			add(p)
		}
		y += high
	}
	return all
}

// query makes a target of a panel.
func query(legend, expr string) target {
	return target{Datasource: prometheus, LegendFormat: legend, Expr: selectors.Replace(expr), Range: true, Format: "time_series"}
}

// quantiles makes targets for parts of a histogram. by is empty, or begins with a comma.
func quantiles(metric, selector, over, by, legend string, qs ...float64) []target {
	targets := make([]target, 0, len(qs))
	for _, q := range qs {
		targets = append(targets, query(fmt.Sprintf("p%g%s", 100*q, legend), quantile(metric, selector, over, by, q)))
	}
	return targets
}

// slowest makes a target of the ten label sets of which a part of a histogram is greatest.
func slowest(metric, selector, over, by, legend string, q float64) target {
	return query(legend, "topk(10, ("+quantile(metric, selector, over, by, q)+") > 0)")
}

// quantile asks for a histogram in both of its forms, since it is up to the operator's Prometheus which of them it
// keeps: classic buckets, which are series of their own, or a native histogram, which has no le.
func quantile(metric, selector, over, by string, q float64) string {
	native := ""
	if by != "" {
		native = " by (" + strings.TrimPrefix(by, ", ") + ")"
	}
	window := map[string]string{"rate": "$__rate_interval", "increase": "$__range"}[over]
	classic := fmt.Sprintf("histogram_quantile(%g, sum by (le%s) (%s(%s_bucket{%s}[%s])))", q, by, over, metric, selector, window)
	return classic + fmt.Sprintf("\nor\nhistogram_quantile(%g, sum%s (%s(%s{%s}[%s])))", q, native, over, metric, selector, window)
}

// newPanel makes a panel of a type; a target without a reference gets the next letter.
func newPanel(kind, title, unit, description string, width, height int, targets []target) *panel {
	for i := range targets {
		targets[i].RefID = string(rune('A' + i))
	}
	return &panel{
		Type: kind, Title: title, Description: description, GridPos: gridPos{H: height, W: width}, Datasource: &prometheus, Targets: targets,
		FieldConfig: &fieldConfig{Defaults: fieldDefaults{Unit: unit}, Overrides: []override{}},
	}
}

// number is one number, or one for each legend, as it is now or over the range that is shown.
func number(title, unit, description string, targets ...target) *panel {
	p := newPanel("stat", title, unit, description, 4, 4, instant(targets, "time_series"))
	p.Options = object{
		"reduceOptions": lastValue(), "colorMode": "value", "graphMode": "none", "textMode": "auto", "justifyMode": "auto", "orientation": "auto",
		"wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
	}
	p.FieldConfig.Defaults.Thresholds = &thresholds{Mode: "absolute", Steps: []step{{Color: "text"}}}
	p.FieldConfig.Defaults.Color = object{"mode": "thresholds"}
	return p
}

// ranking is a bar for each legend.
func ranking(title, unit, description string, targets ...target) *panel {
	p := newPanel("bargauge", title, unit, description, 8, 9, instant(targets, "time_series"))
	p.Options = object{
		"reduceOptions": lastValue(), "orientation": "horizontal", "displayMode": "basic", "showUnfilled": true, "valueMode": "text", "namePlacement": "left",
		"sizing": "auto", "minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 300,
		"legend": object{"displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": []string{}},
	}
	p.FieldConfig.Defaults.Thresholds = &thresholds{Mode: "absolute", Steps: []step{{Color: "blue"}}}
	p.FieldConfig.Defaults.Color = object{"mode": "thresholds"}
	p.FieldConfig.Defaults.Min = new(float64)
	return p
}

// history is lines over time.
func history(title, unit, description string, targets ...target) *panel {
	p := newPanel("timeseries", title, unit, description, 8, 8, targets)
	p.Options = object{
		"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	}
	p.FieldConfig.Defaults.Color = object{"mode": "palette-classic"}
	p.FieldConfig.Defaults.Min = new(float64)
	p.FieldConfig.Defaults.Custom = object{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false, "stacking": object{"mode": "none", "group": "A"}}
	return p
}

// table has a row for each set of labels, and a column for each label and target.
func table(title, description string, targets ...target) *panel {
	p := newPanel("table", title, "short", description, 24, 8, instant(targets, "table"))
	p.Options = object{"showHeader": true, "cellHeight": "sm", "frameIndex": 0}
	p.FieldConfig.Defaults.Custom = object{"align": "auto", "filterable": true, "inspect": false}
	return p
}

func lastValue() object {
	return object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}
}

func instant(targets []target, format string) []target {
	for i := range targets {
		targets[i].Instant, targets[i].Range, targets[i].Format = true, false, format
	}
	return targets
}
