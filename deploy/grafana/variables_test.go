package grafana_test

// schemaVersion is Grafana 11's: a newer Grafana takes the dashboards up to its own.
const schemaVersion = 39

func newDashboard(uid, title, description, from, refresh string, vars []variable, rows []row) dashboard {
	return dashboard{
		UID: uid, Title: title, Description: description, Tags: []string{"retryd"}, GraphTooltip: 1, Timezone: "utc", SchemaVersion: schemaVersion,
		Time: timeRange{From: from, To: "now"}, Refresh: refresh,
		Links: []object{{"type": "dashboards", "title": "retryd", "tags": []string{"retryd"}, "asDropdown": false, "includeVars": true, "keepTime": true, "targetBlank": false, "icon": "external link", "tooltip": "", "url": ""}},
		Annotations: object{"list": []object{{
			"name": "configuration taken", "datasource": prometheus, "enable": true, "hide": false, "iconColor": "blue",
			"expr":        selectors.Replace(`max by (instance) (changes(retryd_config_last_reload_success_timestamp_seconds{INSTANCE}[$__rate_interval])) > 0`),
			"titleFormat": "configuration taken", "textFormat": "{{instance}}", "step": "",
		}}},
		Templating: templating{List: vars}, Panels: lay(rows...),
	}
}

// Chosen at the head of a dashboard, each among what the ones before it leave.
var (
	connectionVariable = queryVariable("connection", "Connection", "label_values(retryd_policy_info{"+ofInstance+"}, connection)")
	policyVariable     = queryVariable("policy", "Policy", "label_values(retryd_policy_info{"+ofConnection+"}, policy)")
)

func variables(more ...variable) []variable {
	return append([]variable{
		{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Refresh: 1, Current: object{"selected": false, "text": "default", "value": "default"}, Options: []object{}},
		listed(queryVariable("job", "Job", "label_values(retryd_build_info, job)")),
		listed(queryVariable("instance", "Instance", `label_values(retryd_build_info{job=~"$job"}, instance)`)),
		connectionVariable,
	}, more...)
}

// listed has All be the list of what can be chosen: others than retryd have up, go_* and process_* too.
func listed(v variable) variable {
	v.AllValue = ""
	return v
}

func queryVariable(name, label, query string) variable {
	return variable{
		Name: name, Label: label, Type: "query", Query: query, Definition: query, Datasource: &prometheus, Refresh: 2, Sort: 1, Multi: true, IncludeAll: true,
		AllValue: ".+", Current: object{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}}, Options: []object{},
	}
}
