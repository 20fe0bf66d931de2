package main

import (
	"fmt"
	"slices"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	iotda "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iotda/v5"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iotda/v5/model"
)

// sdkCmd is what a script with the official SDK does: the calls of its samples, one after another.
type sdkCmd struct {
	Address string `arg:""`
	Project string `arg:""`
}

// Run retries all that fails.
func (c sdkCmd) Run(*app) error {
	credentials, err := basic.NewCredentialsBuilder().WithAk(accessKey).WithSk(secretKey).WithProjectId(c.Project).
		WithDerivedPredicate(auth.GetDefaultDerivedPredicate()).SafeBuild()
	if err != nil {
		return err
	}
	hc, err := iotda.IoTDAClientBuilder().WithRegion(region.NewRegion(regionID, "http://"+c.Address)).WithCredential(credentials).SafeBuild()
	if err != nil {
		return err
	}
	client := iotda.NewIoTDAClient(hc)
	limit := int32(50)
	for _, kind := range []string{"firmwareUpgrade", "softwareUpgrade"} {
		listed, err := client.ListBatchTasks(&model.ListBatchTasksRequest{TaskType: kind, Limit: &limit})
		if err != nil {
			return err
		}
		for _, task := range *listed.Batchtasks {
			if err := retryWithSDK(client, *task.TaskId); err != nil {
				return err
			}
		}
	}
	return nil
}

func retryWithSDK(client *iotda.IoTDAClient, task string) error {
	limit, status := int32(50), "Fail"
	var failed []string
	var marker *string
	for {
		page, err := client.ShowBatchTask(&model.ShowBatchTaskRequest{TaskId: task, TaskDetailStatus: &status, Limit: &limit, Marker: marker})
		if err != nil {
			return err
		}
		for _, row := range *page.TaskDetails {
			failed = append(failed, *row.Target)
		}
		if len(*page.TaskDetails) < int(limit) {
			break
		}
		marker = page.Page.Marker
	}
	for batch := range slices.Chunk(failed, 100) {
		answer, err := client.RetryBatchTask(&model.RetryBatchTaskRequest{TaskId: task, Body: &model.BatchTargets{Targets: &batch}})
		if err != nil {
			return err
		}
		for _, row := range *answer.Targets {
			if *row.Status != "success" {
				return fmt.Errorf("%s is refused", *row.Target)
			}
		}
	}
	return nil
}
