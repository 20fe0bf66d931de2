package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"retryd/internal/iotda"
	"retryd/internal/policy"
	"retryd/internal/store"
)

// named are the words of a filter that name something. Those that are empty name nothing.
type named struct {
	policy, connection, task, id, status, kind, what string
}

// found gives a list, unless it is empty and was asked for by a name that nothing has: that is an error,
// and says what there is. What a list has is never questioned: a policy that is gone keeps its history.
func found[T any](ctx context.Context, s *server, list List[T], err error, by named) (any, error) {
	if err == nil && len(list.Items) == 0 {
		err = s.strange(ctx, by)
	}
	if err != nil {
		return nil, err
	}
	return list, nil
}

// strange refuses the first word that names nothing.
func (s *server) strange(ctx context.Context, by named) error {
	if by.task != "" && by.task == by.id { // it could have been the id of a task that is known no more
		known, _, err := s.Store.ListTasks(ctx, store.TaskFilter{TaskID: by.task, Gone: true}, store.Page{Limit: 1})
		if err != nil {
			return err
		} else if len(known) == 0 {
			return noTask(by.task, "")
		}
	}
	if by.policy+by.connection != "" {
		policies, connections, err := s.names(ctx)
		if err != nil {
			return err
		}
		if err := oneOf("policy", by.policy, policies); err != nil {
			return err
		}
		if err := oneOf("connection", by.connection, connections); err != nil {
			return err
		}
	}
	if err := oneOf("task type", by.kind, texts(iotda.RetryableTaskTypes())); err != nil {
		return err
	}
	if err := oneOf("task status", by.status, texts(iotda.TaskStatuses())); err != nil {
		return err
	}
	return oneOf("kind of action", by.what, kindsOfAction)
}

// names gives the policies and the connections that there are, or were: in the configuration, or in the ledger.
func (s *server) names(ctx context.Context) (policies, connections []string, err error) {
	policies = namesOf(s.Config().Policies)
	for _, c := range s.Config().Connections {
		connections = append(connections, c.Name)
	}
	rows, err := s.Store.PolicyRows(ctx)
	for _, row := range rows {
		policies, connections = append(policies, row.Policy), append(connections, row.Connection)
	}
	return policies, connections, err
}

func texts[T ~string](words []T) []string {
	return mapped(words, func(word T) string { return string(word) })
}

// oneOf refuses a name that is none of those that there are; an empty one names nothing.
func oneOf(what, name string, there []string) error {
	if name == "" {
		return nil
	}
	return thereIs(what, name, there)
}

// thereIs refuses a name that is none of those that there are. Whatever names something goes by it: what
// there is not is said in one way.
func thereIs(what, name string, there []string) error {
	if slices.Contains(there, name) {
		return nil
	}
	return refusal(http.StatusBadRequest, "there is no %s %q: %s", what, name, thereAre(there))
}

// kindsOfAction are what an action can be on record as.
var kindsOfAction = []string{"approve", "create ledger", "drop pauses and halts", "forgive", "pause", "resume", "retry", "revoke", "sweep"}

// mostNames is how many names an error lists.
const mostNames = 20

// thereAre lists names, each once.
func thereAre(names []string) string {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	switch more := len(names) - mostNames; {
	case len(names) == 0:
		return "there is none"
	case len(names) == 1:
		return "there is " + names[0]
	case more > 0:
		return fmt.Sprintf("there are %s and %d more", strings.Join(names[:mostNames], ", "), more)
	}
	return "there are " + strings.Join(names, ", ")
}

// NoPolicy is the error of a command for a policy that is not in its configuration, nil where it is: that
// of the API.
func NoPolicy(name string, policies []*policy.Policy) error {
	return thereIs("policy", name, namesOf(policies))
}

func namesOf(policies []*policy.Policy) []string {
	return mapped(policies, func(p *policy.Policy) string { return p.Name })
}

// noTask is the error for a task that is not known; in a project, where one is named.
func noTask(idOrName, project string) *Problem {
	of := ""
	if project != "" {
		of = " of project " + strconv.Quote(project)
	}
	return refusal(http.StatusBadRequest, "no task with the id or name %q%s has been listed yet: a sweep lists them", idOrName, of)
}
