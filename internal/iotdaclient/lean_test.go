package iotdaclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
)

// TestTheTargetsOfAPageOfTasksTakeNoMoreThanTheirSets: a page can name a million and a half of them.
func TestTheTargetsOfAPageOfTasksTakeNoMoreThanTheirSets(t *testing.T) {
	body := listPage(iotda.MaxPageSize-1, iotda.MaxTaskTargets)
	c := answering(t, body)
	rows := make([]iotda.Task, 0, iotda.MaxPageSize)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := c.EachTask(t.Context(), iotda.FirmwareUpgrade, "", func(task iotda.Task) error {
		rows = append(rows, task)
		return nil
	})
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.Len(t, rows, iotda.MaxPageSize-1)
	for i, row := range rows {
		require.Len(t, row.Targets, iotda.MaxTaskTargets)
		require.True(t, row.Targets.Has(fmt.Sprintf("e495cf17-ff79-4294-8f64-%06x%06x", i, 29999)))
		require.False(t, row.Targets.Has(fmt.Sprintf("e495cf17-ff79-4294-8f64-%06x%06x", i+1, 29999)))
	}
	sets := uint64(8 * iotda.MaxTaskTargets * len(rows))
	require.Less(t, after.TotalAlloc-before.TotalAlloc, sets+4<<20, "of a reply of %d bytes", len(body))
}

func TestTheTargetsBesideSubtasksAreNotHeld(t *testing.T) {
	c := answering(t, subtaskPage(iotda.MaxTaskTargets))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	page, err := c.Subtasks(t.Context(), "ab", iotdaclient.Query{}, "", 0)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.Len(t, page.Subtasks, iotda.MaxPageSize)
	require.Equal(t, 30000, page.Task.Progress.Total)
	require.Empty(t, page.Task.Targets)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

// task gives a list of one task in which these are the targets, as they are spelt.
func taskWith(targets string) []byte {
	return []byte(`{"batchtasks":[{"task_id":"ab","status":"Fail","targets":` + targets + `,"task_progress":{"total":2}}],"page":{"count":1}}`)
}

func TestTargetsAreReadHoweverTheyAreSpelt(t *testing.T) {
	long := strings.Repeat("d", 128)
	for spelt, want := range map[string][]string{
		`[]`:                    {},
		`null`:                  nil,
		` [ "a" , "b" ] `:       {"a", "b"},
		"[\n\t\"a\",\r\n\"b\"]": {"a", "b"},
		`["a","a"]`:             {"a"},
		`["\u0061","b\"]\\"]`:   {"a", `b"]\`},
		`["\\","\\\"","\""]`:    {`\`, `\"`, `"`},
		`["\ud83d\ude00é电"]`:    {"😀é电"},
		"[\"a\xff\"]":           {"a\ufffd"},
		`["` + long + `"]`:      {long},
		`["` + strings.Repeat(`\u0064`, 128) + `"]`: {long},
		`[""]`: {""},
	} {
		var got iotda.Task
		_, err := answering(t, taskWith(spelt)).EachTask(t.Context(), iotda.FirmwareUpgrade, "", func(task iotda.Task) error { got = task; return nil })
		require.NoError(t, err, spelt)
		require.Len(t, got.Targets, len(want), spelt)
		for _, id := range want {
			require.True(t, got.Targets.Has(id), "%q of %s", id, spelt)
		}
		require.Equal(t, 2, got.Progress.Total, spelt)
	}
}

func TestTargetsThatAreNoListOfTextsAreRefused(t *testing.T) {
	for spelt, says := range map[string]string{
		`[1]`: `field "batchtasks.targets" is a number`, `[null]`: `field "batchtasks.targets" is a null`, `["a",true]`: `field "batchtasks.targets" is a bool`,
		`[["a"]]`: `field "batchtasks.targets" is a array`, `[{}]`: `field "batchtasks.targets" is a object`, `"a"`: `field "batchtasks.targets" is a string`,
		`{}`: `field "batchtasks.targets" is a object`, `["a",]`: "not the API's JSON", `["a" "b"]`: "not the API's JSON", `[,]`: "not the API's JSON",
		`["a\x"]`: "not the API's JSON", "[\"a\n\"]": "not the API's JSON", `["a"`: "not the API's JSON", `["a`: "not the API's JSON", `x`: "not the API's JSON",
		`["` + strings.Repeat("d", 1<<20) + `"]`: "a target of more than 2048 bytes", `["` + strings.Repeat(`\"`, 1<<20) + `"]`: "a target of more than 2048 bytes",
		"[\"\"" + strings.Repeat(`,""`, 3000000) + "]": "more than 3000000 targets",
	} {
		err := each(answering(t, taskWith(spelt)))
		require.ErrorContains(t, err, says, "%.40s", spelt)
		refused(t, err)
	}
}

func each(c *iotdaclient.Client) error {
	_, err := c.EachTask(context.Background(), iotda.FirmwareUpgrade, "", func(iotda.Task) error { return nil })
	return err
}

// FuzzAPageOfTasksReadsAsItDoesWhole: what is taken out while it is read is what encoding/json finds.
func FuzzAPageOfTasksReadsAsItDoesWhole(f *testing.F) {
	addReplies(f, listReply, string(listPage(3, 4)),
		`{"x":{"targets":["a"]},"batchtasks":[{"task_id":"a","targets":["a"],"targets":["b","c"]},{"TARGETS":["d"]},{"\u0074argets":["e","f"]},{"targets":{}}]}`,
		`{"batchtasks":[{"task_id":"targets","targets_filter":{"targets":["x"]},"task_name":"\"targets\":[","targets" : [ "a\\" , "\"" ] }]}`,
		`{"batchtasks":[{"targets":["a"]}],"batchtasks":[{"targets":null},{}],"targets":["q"]}`,
		`{"a":[{"targets":["b"]}],"batchtasks":[{"c":null},{}],"targets":["q"]}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		var want struct {
			Tasks []iotda.Task `json:"batchtasks"`
		}
		bad := json.Unmarshal(body, &want)
		var got []iotda.Task
		_, err := fuzzed(t, aKey(), always(body)).EachTask(t.Context(), iotda.FirmwareUpgrade, "", func(task iotda.Task) error {
			got = append(got, task)
			return nil
		})
		if err != nil {
			refused(t, err)
			return
		}
		require.NoError(t, bad)
		if bytes.Count(bytes.ToLower(body), []byte(`"batchtasks"`)) == 1 { // of two lists encoding/json mixes the rows
			require.Equal(t, len(want.Tasks), len(got))
			for i := range got {
				require.ElementsMatch(t, want.Tasks[i].Targets, got[i].Targets, "%s", body)
				got[i].Targets, want.Tasks[i].Targets = nil, nil
				require.Equal(t, want.Tasks[i], got[i])
			}
		}
	})
}
