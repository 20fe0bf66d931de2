package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"retryd/internal/iotda"
	"retryd/internal/store"
)

// oneTask finds a task that the ledger knows, by id or by name.
func (s *server) oneTask(ctx context.Context, idOrName string) (store.FoundTask, error) {
	return s.oneTaskIn(ctx, idOrName, "")
}

// oneTaskIn does the same in one project, where one is named: projects number their tasks each for itself.
func (s *server) oneTaskIn(ctx context.Context, idOrName, project string) (store.FoundTask, error) {
	found, err := s.Store.FindTasks(ctx, idOrName)
	if err != nil {
		return store.FoundTask{}, err
	}
	found = slices.DeleteFunc(found, func(t store.FoundTask) bool { return project != "" && t.ProjectID != project })
	switch len(found) {
	case 0:
		return store.FoundTask{}, noTask(idOrName, project)
	case 1:
		return found[0], nil
	}
	lines := make([]string, len(found))
	for i, t := range found {
		lines[i] = fmt.Sprintf("  %s  %q  in project %s", t.ID, t.Name, t.ProjectID)
	}
	what := "%q is the name of %d tasks: name one by its id\n%s"
	if found[0].ID == idOrName {
		what = "%q is the id of %d tasks: name the project too\n%s"
	}
	return store.FoundTask{}, refusal(http.StatusBadRequest, what, idOrName, len(found), strings.Join(lines, "\n"))
}

// byTask puts the task that is named into a filter, unless none is. What can be an id is taken as
// one where no task is found: what is known of a task that is gone can be listed by it.
func (s *server) byTask(ctx context.Context, task string, project, id *string) error {
	if task == "" {
		return nil
	}
	known, err := s.Store.FindTasks(ctx, task)
	if err != nil {
		return err
	}
	if len(known) == 0 && iotda.ValidTaskID(task) {
		*id = task
		return nil
	}
	found, err := s.oneTaskIn(ctx, task, *project)
	if err == nil {
		*project, *id = found.ProjectID, found.ID
	}
	return err
}
