package emulator_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	iotdasdk "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iotda/v5"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iotda/v5/model"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const project = "0123456789abcdef0123456789abcdef"

func failing(n int) []emulator.Device {
	devices := make([]emulator.Device, n)
	for i := range devices {
		devices[i] = emulator.Device{ID: fmt.Sprintf("d-%04d", i), Status: iotda.SubtaskFail, Fate: emulator.Fate{RecoverAt: 1, Message: "Task Conflict"}}
	}
	return devices
}

// sdk is the official client against the emulator over real HTTP.
func sdk(t *testing.T, e *emulator.Emulator, secret string, derived bool) *iotdasdk.IoTDAClient {
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	credentials, err := basic.NewCredentialsBuilder().WithAk("key").WithSk(secret).WithProjectId(project).WithDerivedPredicate(func(*request.DefaultHttpRequest) bool { return derived }).SafeBuild()
	require.NoError(t, err)
	hc, err := iotdasdk.IoTDAClientBuilder().WithRegion(region.NewRegion("cn-north-4", server.URL)).WithCredential(credentials).
		WithHttpConfig(config.DefaultHttpConfig().WithTimeout(10 * time.Second)).SafeBuild()
	require.NoError(t, err)
	return iotdasdk.NewIoTDAClient(hc)
}

func TestTheOfficialClientListsShowsAndRetries(t *testing.T) {
	for _, signing := range []string{"basic", "derived"} {
		t.Run(signing, func(t *testing.T) {
			e := emulator.New(emulator.Options{ProjectID: project, Region: "cn-north-4", Keys: map[string]string{"key": "secret"}, Signing: signing})
			id, err := e.AddTask(emulator.Task{Name: "fw", Type: iotda.FirmwareUpgrade, Devices: failing(70)})
			require.NoError(t, err)
			client := sdk(t, e, "secret", signing == "derived")

			limit := int32(50)
			listed, err := client.ListBatchTasks(&model.ListBatchTasksRequest{TaskType: "firmwareUpgrade", Limit: &limit})
			require.NoError(t, err)
			require.Len(t, *listed.Batchtasks, 1)
			require.Equal(t, id, *(*listed.Batchtasks)[0].TaskId)
			require.Equal(t, "Fail", *(*listed.Batchtasks)[0].Status)

			status := "Fail"
			shown, err := client.ShowBatchTask(&model.ShowBatchTaskRequest{TaskId: id, TaskDetailStatus: &status, Limit: &limit})
			require.NoError(t, err)
			require.Len(t, *shown.TaskDetails, 50)
			next, err := client.ShowBatchTask(&model.ShowBatchTaskRequest{TaskId: id, TaskDetailStatus: &status, Limit: &limit, Marker: shown.Page.Marker})
			require.NoError(t, err)
			require.Len(t, *next.TaskDetails, 20)

			targets := []string{"d-0001", "nobody"}
			retried, err := client.RetryBatchTask(&model.RetryBatchTaskRequest{TaskId: id, Body: &model.BatchTargets{Targets: &targets}})
			require.NoError(t, err)
			answers := map[string]string{}
			for _, row := range *retried.Targets {
				answers[*row.Target] = *row.Status
			}
			require.Equal(t, map[string]string{"d-0001": "success", "nobody": "failure"}, answers)
			require.Len(t, e.Retries(), 2)
		})
	}
}

func TestTheWrongFormOfSignatureAndTheWrongKeyAreRefusedAndFiveLockTheKey(t *testing.T) {
	e := emulator.New(emulator.Options{ProjectID: project, Keys: map[string]string{"key": "secret"}, Signing: "derived"})
	list := func(c *iotdasdk.IoTDAClient) *sdkerr.ServiceResponseError {
		_, err := c.ListBatchTasks(&model.ListBatchTasksRequest{TaskType: "firmwareUpgrade"})
		var refused *sdkerr.ServiceResponseError
		require.True(t, err == nil || errors.As(err, &refused))
		return refused
	}
	require.Equal(t, "IOTDA.000002", list(sdk(t, e, "secret", false)).ErrorCode)
	good := sdk(t, e, "secret", true)
	require.Nil(t, list(good), "a success ends the row of failures")
	wrong := sdk(t, e, "wrong", true)
	for range 5 {
		require.Equal(t, "APIGW.0301", list(wrong).ErrorCode)
	}
	require.Contains(t, list(good).ErrorMessage, "reach the limit", "now the right key is locked too")
}

func TestARerunWaitsWorksAndEndsByItsFate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := emulator.New(emulator.Options{ProjectID: project, Upgrade: time.Minute})
		devices := failing(2)
		devices[1].Fate = emulator.Fate{RecoverAt: 1, Online: time.Now().Add(time.Hour)}
		id, err := e.AddTask(emulator.Task{Type: iotda.FirmwareUpgrade, Devices: devices})
		require.NoError(t, err)
		e.ConsoleRetry(id, "d-0000", "d-0001")
		states := func() (s [3]string) {
			a, _ := e.Subtask(id, "d-0000")
			b, _ := e.Subtask(id, "d-0001")
			task, _ := e.Task(id)
			return [3]string{string(a.Status), string(b.Status), string(task.Status)}
		}
		require.Equal(t, [3]string{"Waitting", "Waitting", "Processing"}, states())
		time.Sleep(30 * time.Second)
		require.Equal(t, [3]string{"Processing", "Processing", "Processing"}, states())
		time.Sleep(30 * time.Second)
		require.Equal(t, [3]string{"Success", "Fail", "PartialSuccess"}, states())
		offline, _ := e.Subtask(id, "d-0001")
		require.Equal(t, "Waiting for the device online timeout", offline.Error.Message)
	})
}
