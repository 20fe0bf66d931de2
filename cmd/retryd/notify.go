package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"retryd/internal/config"
	"retryd/internal/notify"
	"retryd/internal/store"
)

type notifyCmd struct {
	Test notifyTestCmd `cmd:"" help:"Send receivers of notices a test digest now, and say what came of it."`
}

type notifyTestCmd struct {
	Names []string `arg:"" optional:"" name:"name" help:"Receivers to send it to; none = all."`
}

// Run sends a test digest to each.
func (c notifyTestCmd) Run(a *app) error {
	loaded, err := a.load()
	if err != nil {
		return err
	}
	receivers, err := c.chosen(notices(loaded).Receivers)
	if err != nil {
		return err
	}
	failed := 0
	for _, r := range receivers {
		id, err := notify.Try(a.ctx, r, userAgent(), nil)
		if err != nil {
			failed++
			printf(a.stdout, "%s: not sent: %s\n", r.Name, err)
			continue
		}
		printf(a.stdout, "%s: sent, as digest %s\n", r.Name, id)
	}
	switch err := errors.New(plural(failed, "receiver") + " could not be reached"); {
	case failed == 0:
		return nil
	case failed == len(receivers):
		return err
	default:
		return failure{exitPartial, err}
	}
}

func (c notifyTestCmd) chosen(all []notify.Receiver) (chosen []notify.Receiver, err error) {
	if len(all) == 0 {
		return nil, errors.New("the configuration has no receivers of notices: add one under notify")
	}
	if len(c.Names) == 0 {
		return all, nil
	}
	var names []string
	for _, r := range all {
		names = append(names, r.Name)
		if slices.Contains(c.Names, r.Name) {
			chosen = append(chosen, r)
		}
	}
	for _, name := range c.Names {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("there is no receiver %q under notify; there are %s", name, strings.Join(names, ", "))
		}
	}
	return chosen, nil
}

// notices gives what a configuration says about who is told of what.
func notices(c *config.Config) notify.Setup {
	s := notify.Setup{ExternalURL: c.Server.ExternalURL}
	for _, r := range c.Receivers {
		receiver := notify.Receiver{
			Name: r.Name, URL: r.URL.Reveal(), Format: notify.Format(r.Format), All: r.All, Policies: r.Policies, Connections: r.Connections,
			Batch: r.Batch, Secret: r.Secret.Reveal(), Timeout: r.Timeout,
		}
		for _, event := range r.Events {
			receiver.Events = append(receiver.Events, store.Event(event))
		}
		s.Receivers = append(s.Receivers, receiver)
	}
	return s
}

// sender tells people of what is in the ledger, and counts that.
type sender struct {
	*notify.Sender
	h     *house
	names []string // of receivers, that have series
}

// sender makes the sender of the house. What is written from now on is for its receivers.
func (h *house) sender(ctx context.Context, c *config.Config) (*sender, error) {
	s := &sender{h: h}
	made, err := notify.New(ctx, notify.Options{
		Setup: notices(c), Store: h.store, Holder: h.replica.ID, UserAgent: userAgent(), Log: h.log,
		Count: func(receiver, result string, n int) {
			h.metrics.Notifications.WithLabelValues(receiver, result).Add(float64(n))
		},
	})
	s.Sender = made
	s.count(c)
	return s, err
}

// apply puts the receivers of another configuration in the place of those before, or none of them.
func (s *sender) apply(ctx context.Context, c *config.Config) error {
	if err := s.Apply(ctx, notices(c)); err != nil {
		return err
	}
	s.count(c)
	return nil
}

// count has exactly the receivers that there are in the metrics.
func (s *sender) count(c *config.Config) {
	var names []string
	for _, r := range c.Receivers {
		names = append(names, r.Name)
		s.h.metrics.AddReceiver(r.Name, notify.Results())
	}
	for _, name := range s.names {
		if !slices.Contains(names, name) {
			s.h.metrics.RemoveReceiver(name)
		}
	}
	s.names = names
}
