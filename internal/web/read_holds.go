package web

import (
	"context"
	"errors"
	"net/http"

	"retryd/internal/store"
)

func (s *server) pauses(ctx context.Context) ([]Pause, error) {
	rows, err := s.Store.Pauses(ctx)
	return mapped(rows, pauseOf), err
}

func (s *server) halts(ctx context.Context) ([]Halt, error) {
	rows, err := s.Store.Halts(ctx)
	return mapped(rows, haltOf), err
}

func (s *server) approvals(ctx context.Context) ([]Approval, error) {
	rows, err := s.Store.Approvals(ctx)
	return mapped(rows, s.approvalOf), err
}

// request gives what became of work that a person has asked for.
func (s *server) request(ctx context.Context, id int64) (Request, error) {
	r, err := s.Store.GetRequest(ctx, id)
	if errors.Is(err, store.ErrNoRequest) {
		return Request{}, refusal(http.StatusNotFound, "%s", err)
	}
	return requestOf(r), err
}

func requestOf(r store.Request) Request {
	request := Request{
		ID: r.ID, Kind: string(r.Kind), State: string(r.State), Policy: r.Policy, Connection: r.Connection, ProjectID: r.ProjectID, TaskID: r.TaskID,
		Who: r.Who, Why: r.Why, At: r.At, Ended: moment(r.EndedAt),
		Result: Outcome{Targets: r.Result.Targets, Sent: r.Result.Sent, Capped: r.Result.Capped, Problems: r.Result.Problems},
	}
	for _, left := range r.Result.Left {
		request.Result.Left = append(request.Result.Left, Left(left))
	}
	return request
}
