package iotda

import (
	"regexp"
	"strings"
)

// CauseClass says what kind of thing made a sub-task fail.
type CauseClass string

// The kinds of causes.
const (
	CauseDevice   CauseClass = "device"
	CauseNetwork  CauseClass = "network"
	CauseFirmware CauseClass = "firmware"
	CausePlatform CauseClass = "platform"
)

// Cause is a known reason for which a sub-task fails.
type Cause struct {
	Name  string
	Class CauseClass
	// Never is set where trying again cannot help.
	Never bool
	code  string // exact error code
	text  string // lower-case part of the text
}

// UnknownCause is the cause of a failure that no row of the table matches.
var UnknownCause = Cause{Name: "other", Class: CausePlatform}

// causes is matched from the top. The texts are those that the console shows as
// "execution details" [doc iot_faq_01001]; no codes are published for them, and which
// field carries them is not documented, so they are matched as parts of either, in any
// case. What is `Never` is our judgement.
var causes = []Cause{
	{Name: "not-in-task", Class: CausePlatform, Never: true, code: "IOTDA.014219"},    // [doc RetryBatchTask]
	{Name: "no-such-device", Class: CausePlatform, Never: true, code: "IOTDA.014000"}, // [user]
	{Name: "device-offline", Class: CauseNetwork, code: "IOTDA.014016"},               // [sdk model_error_info_dto.go]
	{Name: "command-timeout", Class: CauseNetwork, code: "IOTDA.014111"},              // [user]
	{Name: "topic-not-subscribed", Class: CauseDevice, code: "IOTDA.014112"},          // [sdk]
	{Name: "device-offline", Class: CauseNetwork, text: "is not online"},              // "Device Abnormal is not online"
	{Name: "device-offline", Class: CauseNetwork, text: "waiting for the device online timeout"},
	{Name: "task-conflict", Class: CausePlatform, text: "task conflict"},
	{Name: "report-timeout", Class: CauseNetwork, text: "waiting for report cellid timeout"},
	{Name: "report-timeout", Class: CauseNetwork, text: "waiting for report device firmware version timeout"},
	{Name: "report-timeout", Class: CauseNetwork, text: "wait for the device to report upgrade result timeout"},
	{Name: "report-timeout", Class: CauseNetwork, text: "updating timeout and query device version"},
	{Name: "download-timeout", Class: CauseNetwork, text: "waiting for device downloaded package timeout"},
	{Name: "connection-lost", Class: CauseNetwork, text: "connection lost during downloading"},
	{Name: "out-of-memory", Class: CauseDevice, text: "out of memory during downloading"},
	{Name: "integrity-check", Class: CauseFirmware, text: "integrity check failure"},
	{Name: "no-space", Class: CauseDevice, text: "not enough storage"},
	{Name: "unsupported-package", Class: CauseFirmware, Never: true, text: "unsupported package type"},
	{Name: "invalid-uri", Class: CausePlatform, text: "invalid uri"}, // a platform link may have expired: worth trying
	{Name: "same-version", Class: CauseDevice, Never: true, text: "current version is the same as the target version"},
	{Name: "update-failed", Class: CauseFirmware, text: "firmware update failed"},
}

// results holds the result codes that a device reports with upgrade_progress_report
// [doc iot_06_v5_3031]. How the platform shows one is not documented, so it is looked
// for as result_code in the text.
var results = map[string]Cause{
	"1":   {Name: "device-busy", Class: CauseDevice},
	"2":   {Name: "poor-signal", Class: CauseNetwork},
	"3":   {Name: "same-version", Class: CauseDevice, Never: true},
	"4":   {Name: "low-battery", Class: CauseDevice},
	"5":   {Name: "no-space", Class: CauseDevice},
	"6":   {Name: "download-timeout", Class: CauseNetwork},
	"7":   {Name: "integrity-check", Class: CauseFirmware},
	"8":   {Name: "unsupported-package", Class: CauseFirmware, Never: true},
	"9":   {Name: "out-of-memory", Class: CauseDevice},
	"10":  {Name: "update-failed", Class: CauseFirmware},
	"255": {Name: "internal-exception", Class: CauseDevice},
}

// resultCodes are the keys of results, in the order of the documentation.
var resultCodes = []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "255"}

var resultCode = regexp.MustCompile(`(?i)result[_ ]?code"?\s*[:=]\s*"?(\d{1,3})\b`)

// CauseOf names the reason for a failure from its error code and text.
func CauseOf(code, text string) Cause {
	lower := strings.ToLower(text)
	for _, c := range causes {
		if (c.code != "" && c.code == code) || (c.text != "" && strings.Contains(lower, c.text)) {
			return c
		}
	}
	if m := resultCode.FindStringSubmatch(text); m != nil {
		if c, ok := results[m[1]]; ok {
			return c
		}
	}
	return UnknownCause
}

// Causes lists every known cause once, by name, for the label sets of metrics.
func Causes() []Cause {
	seen := map[string]bool{}
	var all []Cause
	add := func(c Cause) {
		if !seen[c.Name] {
			seen[c.Name] = true
			all = append(all, Cause{Name: c.Name, Class: c.Class, Never: c.Never})
		}
	}
	for _, c := range causes {
		add(c)
	}
	for _, n := range resultCodes {
		add(results[n])
	}
	add(UnknownCause)
	return all
}

// CauseRow is a row of the table of causes, for a reader.
type CauseRow struct {
	Cause
	Matches string // the code or the text
}

// CauseRows lists the table in the order in which it is matched.
func CauseRows() []CauseRow {
	rows := make([]CauseRow, 0, len(causes)+len(results)+1)
	for _, c := range causes {
		rows = append(rows, CauseRow{c, c.code + c.text})
	}
	for _, n := range resultCodes {
		rows = append(rows, CauseRow{results[n], "result_code " + n})
	}
	return append(rows, CauseRow{UnknownCause, ""})
}
