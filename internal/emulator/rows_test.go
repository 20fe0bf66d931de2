package emulator_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
)

// pages reads a task's failed sub-tasks to the end, marker by marker.
func (p *place) pages(t *testing.T) (pages [][]string) {
	for marker := iotda.FirstMarker; len(pages) < 20; {
		rows, next := p.ask(http.MethodGet, "/batchtasks/"+p.task+"?task_detail_status=Fail&limit=20&marker="+marker, "").rows(t)
		if len(rows) == 0 {
			break
		}
		pages, marker = append(pages, rows), next
	}
	return pages
}

func distinct(pages [][]string) int {
	all := slices.Concat(pages...)
	slices.Sort(all)
	return len(slices.Compact(all))
}

func TestRowsThatMoveAreMissedOrComeAgain(t *testing.T) {
	p := newPlace(t, 100)
	require.Equal(t, 100, distinct(p.pages(t)))
	p.always(emulator.FaultRowsMove)
	pages := p.pages(t)
	require.Less(t, distinct(pages), 100, "some moved up, behind the reader's back")
	require.Greater(t, len(slices.Concat(pages...)), distinct(pages), "some moved down, and came again")
	require.Equal(t, 100, distinct(p.always("").pages(t)), "all are there")
}

func TestRowsEnterAndLeaveBelowTheMarkerWhileTheyArePaged(t *testing.T) {
	p := newPlace(t, 60)
	p.ConsoleRetry(p.task, "d-0000", "d-0001", "d-0059") // the first ids are the lowest, and listed last
	id, err := p.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: []emulator.Device{
		{ID: "works", Status: iotda.SubtaskProcessing}, {ID: "failed", Status: iotda.SubtaskFail}}})
	require.NoError(t, err)
	read := func(marker string) (rows []string, next string) {
		return p.ask(http.MethodGet, "/batchtasks/"+p.task+"?task_detail_status=Fail&limit=20&marker="+marker, "").rows(t)
	}
	_, next := read(iotda.FirstMarker)
	p.always(emulator.FaultRowsEnter)
	read(next)
	for device, want := range map[string]iotda.SubtaskStatus{"d-0000": iotda.SubtaskSuccess, "d-0001": iotda.SubtaskSuccess, "d-0059": iotda.SubtaskWaitting} {
		s, _ := p.Subtask(p.task, device)
		require.Equal(t, want, s.Status, device)
	}
	p.task = id
	rows, _ := read(iotda.FirstMarker)
	require.Equal(t, []string{"failed", "works"}, rows, "one that fails enters")
}

func TestAShortPageLeavesNoRowOutForWhoFollowsTheMarker(t *testing.T) {
	p := newPlace(t, 50).always(emulator.FaultShortPage)
	pages := p.pages(t)
	require.Len(t, pages, 5)
	require.Len(t, pages[0], 10, "half of what was asked for")
	require.Equal(t, 50, distinct(pages))
}

func TestAMarkerThatDoesNotFallIsTheOneThatWasAskedFor(t *testing.T) {
	p := newPlace(t, 50)
	_, second := p.ask(http.MethodGet, "/batchtasks/"+p.task+"?limit=20", "").rows(t)
	p.always(emulator.FaultMarker)
	_, marker := p.ask(http.MethodGet, "/batchtasks/"+p.task+"?limit=20&marker="+second, "").rows(t)
	require.Equal(t, second, marker)
	_, marker = p.ask(http.MethodGet, "/batchtasks/"+p.task+"?limit=20", "").rows(t)
	require.Equal(t, iotda.FirstMarker, marker)
}

func TestAnotherInstanceKnowsNothing(t *testing.T) {
	p := newPlace(t, 5).always(emulator.FaultOtherInstance)
	require.Contains(t, p.ask(http.MethodGet, "/batchtasks?task_type=firmwareUpgrade", "").body, `"batchtasks":[]`)
	require.Contains(t, p.ask(http.MethodGet, "/devices", "").body, `"devices":[]`)
	for _, path := range []string{"/batchtasks/" + p.task, "/devices/d-0000"} {
		g := p.ask(http.MethodGet, path, "")
		require.Equal(t, 404, g.status)
		require.Contains(t, g.code(), "IOTDA.")
	}
	require.Equal(t, 404, p.retry("d-0000").status)
	require.Equal(t, 200, p.always("").retry("d-0000").status, "the tasks are there again")
}
