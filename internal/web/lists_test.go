package web_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/policy"
	"retryd/internal/web"
)

func TestListsAreFilteredByTheWordsOfTheirParameters(t *testing.T) {
	r := reading(t)
	r.fill()
	for path, devices := range map[string][]string{
		"targets?is=recovered":                              {"d-recovered"},
		"targets?is=open":                                   {"d-open"},
		"targets?is=waiting":                                {"d-failed"},
		"targets?is=exhausted&task=fw+2.1":                  {"d-up"},
		"targets?is=gone&policy=nightly":                    {"d-gone"},
		"targets?device=d-up&connection=prod":               {"d-up"},
		"targets?policy=guarded":                            nil,
		"targets?project=" + otherProject:                   nil,
		"attempts?state=recovered":                          {"d-recovered"},
		"attempts?since=1h":                                 {"d-open"},
		"attempts?until=2026-03-01T13:00:01Z&device=d-up":   {"d-up"},
		"attempts?task=" + campaign + "&device=d-open":      {"d-open"},
		"attempts?since=2026-03-01T13:00:01Z&device=d-gone": nil,
	} {
		var list web.List[struct {
			DeviceID string `json:"device_id"`
		}]
		r.get("/api/v1/"+path, &list)
		var got []string
		for _, item := range list.Items {
			got = append(got, item.DeviceID)
		}
		require.Equal(t, devices, got, path)
	}
	for path, n := range map[string]int{"sweeps": 2, "sweeps?result=partial": 1, "sweeps?policy=guarded": 0, "sweeps?since=20m": 1, "tasks": 3, "tasks?status=Fail": 1, "tasks?type=softwareUpgrade": 0,
		"tasks?policy=nightly": 1, "actions?who=nobody": 0, "connections": 2, "policies": 3, "pauses": 0} {
		var list web.List[any]
		r.get("/api/v1/"+path, &list)
		require.Len(t, list.Items, n, path)
	}
}

func TestAnEmptyListOfANameThatNothingHasSaysWhatThereIs(t *testing.T) {
	r := reading(t)
	r.fill()
	for path, says := range map[string]string{
		"targets?task=aaaaaaaaaaaaaaaaaaaaaaaa": `no task with the id or name "aaaaaaaaaaaaaaaaaaaaaaaa" has been listed yet`,
		"tasks?task=abc":                        `no task with the id or name "abc" has been listed yet`,
		"tasks?policy=weekly":                   `there is no policy "weekly": there are `,
		"sweeps?policy=weekly":                  "nightly",
		"attempts?connection=west":              `there is no connection "west": there are edge, prod`,
		"tasks?status=processing":               `there is no task status "processing": there are Fail, Initializing, PartialSuccess, Processing, Stopped, Stopping, Success, Waitting`,
		"tasks?type=firmware":                   `there is no task type "firmware": there are firmwareUpgrade, softwareUpgrade`,
		"actions?what=jump":                     `there is no kind of action "jump": there are approve,`,
	} {
		require.Contains(t, r.refused(http.StatusBadRequest, http.MethodGet, "/api/v1/"+path).Detail, says, path)
	}
	r.config.Policies[0].Name = "weekly" // nightly is in the ledger still
	var list web.List[web.Sweep]
	r.get("/api/v1/sweeps?policy=nightly", &list)
	require.Len(t, list.Items, 2)
	r.get("/api/v1/sweeps?policy=weekly", &list)
	require.Empty(t, list.Items)
}

func TestPagesGiveEachRowOnce(t *testing.T) {
	r := reading(t)
	r.fill()
	seen := map[string]int{}
	path := "/api/v1/targets?limit=2"
	for after, pages := "", 0; ; pages++ {
		var list web.List[web.Target]
		r.get(path+"&after="+after, &list)
		for _, target := range list.Items {
			seen[target.DeviceID]++
		}
		if after = list.Next; after == "" {
			require.Equal(t, 2, pages)
			break
		}
	}
	require.Equal(t, map[string]int{"d-failed": 1, "d-gone": 1, "d-open": 1, "d-recovered": 1, "d-up": 1}, seen)
}

func TestATargetSaysWhatItIs(t *testing.T) {
	r := reading(t)
	r.fill()
	var list web.List[web.Target]
	r.get("/api/v1/targets?device=d-up", &list)
	got := list.Items[0]
	at := r.now.Add(-5 * time.Hour)
	require.Equal(t, web.Target{
		DeviceID: "d-up", TaskID: campaign, TaskName: "fw 2.1", TaskType: "firmwareUpgrade", ProjectID: project, Policy: "nightly", Connection: "prod", Is: "exhausted",
		Why: "1 of 1 attempts", Attempts: 1, Last: 1, State: string(policy.Failed), FirstAt: &at, LastAt: &at, EndedAt: &at,
		FailureCode: "IOTDA.014016", FailureText: "not online", Rule: "device-offline", Class: "network",
	}, got)
}

func TestARecoveryIsSummedUpByTheHour(t *testing.T) {
	r := reading(t)
	r.fill()
	var all web.Recovery
	r.get("/api/v1/recovery", &all)
	require.Equal(t, r.now.Add(-7*24*time.Hour), all.Since)
	require.Equal(t, map[string]int{"recovered": 1, "failed": 2, "gone": 1, "exhausted": 1}, all.Ends)
	require.Equal(t, []web.Needed{{N: 1, Count: 1}}, all.Needed)
	require.Equal(t, []web.Hour{{Hour: r.now.Add(-5 * time.Hour), Ends: all.Ends}}, all.Hours)
	r.get("/api/v1/recovery?since=1h", &all)
	require.Empty(t, all.Hours)
}
