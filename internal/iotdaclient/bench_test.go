package iotdaclient_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
)

// listPage is a page of tasks whose rows carry so many targets each.
func listPage(rows, targets int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"batchtasks":[`)
	for row := range rows {
		if row > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"task_id":"5f2bc5a1b2c3d4e5f6%06x","task_name":"fw_v2","task_type":"firmwareUpgrade","targets":[`, 0xffffff-row)
		for target := range targets {
			if target > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `"e495cf17-ff79-4294-8f64-%06x%06x"`, row, target)
		}
		fmt.Fprintf(&b, `],"targets_filter":{},"document":{"package_ids":["32822e5744a45ede319d2c50"]},"task_policy":{"schedule_time":null,"retry_count":2,"retry_interval":5},`+
			`"status":"PartialSuccess","status_desc":"","task_progress":{"total":%d,"success":1},"create_time":"20260301T081608Z"}`, targets)
	}
	fmt.Fprintf(&b, `],"page":{"count":%d,"marker":"5f2bc5a1b2c3d4e5f6000001"}}`, rows)
	return b.Bytes()
}

// subtaskPage is a full page of sub-tasks. The task beside them carries so many targets.
func subtaskPage(targets int) []byte {
	type object = map[string]any
	rows := []object{}
	for i := range iotda.MaxPageSize {
		rows = append(rows, object{
			"target": fmt.Sprintf("e495cf17-ff79-4294-8f64-%012x", i), "status": "Fail", "output": "",
			"error": object{"error_code": "IOTDA.014016", "error_msg": "Waiting for the device online timeout"},
		})
	}
	names := make([]string, targets)
	for i := range names {
		names[i] = fmt.Sprintf("e495cf17-ff79-4294-8f64-%012x", i)
	}
	body, err := json.Marshal(object{
		"batchtask": object{
			"task_id": "5f2bc5a1b2c3d4e5f6a7b8c9", "task_type": "firmwareUpgrade", "targets": names, "status": "Fail",
			"task_progress": object{"total": 30000, "fail": 30000},
		},
		"task_details": rows, "page": object{"count": 30000, "marker": "5f2bc5a1b2c3d4e5f6a7b8c9"},
	})
	if err != nil {
		panic(err)
	}
	return body
}

func answering(b testing.TB, body []byte) *iotdaclient.Client {
	c := client(b, http.NotFoundHandler(), func(o *iotdaclient.Options) {
		o.Transport, o.Budget = always(body), iotdaclient.NewBudget(1e9, 1e9)
	})
	return c
}

// BenchmarkListPage reads one page of tasks, without the network.
func BenchmarkListPage(b *testing.B) {
	for _, targets := range []int{0, 1000, iotda.MaxTaskTargets} {
		b.Run(fmt.Sprintf("targets=%d", targets), func(b *testing.B) {
			body := listPage(iotda.MaxPageSize-1, targets)
			c := answering(b, body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				rows := 0
				_, err := c.EachTask(b.Context(), iotda.FirmwareUpgrade, "", func(iotda.Task) error { rows++; return nil })
				if err != nil || rows != iotda.MaxPageSize-1 {
					b.Fatal(err, rows)
				}
			}
		})
	}
}

// BenchmarkSubtaskPage reads one page of sub-tasks, without the network.
func BenchmarkSubtaskPage(b *testing.B) {
	for _, targets := range []int{0, iotda.MaxTaskTargets} {
		b.Run(fmt.Sprintf("targets=%d", targets), func(b *testing.B) {
			body := subtaskPage(targets)
			c := answering(b, body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				page, err := c.Subtasks(b.Context(), "ab", iotdaclient.Query{Status: iotda.SubtaskFail}, "", 0)
				if err != nil || len(page.Subtasks) != iotda.MaxPageSize {
					b.Fatal(err, len(page.Subtasks))
				}
			}
		})
	}
}
