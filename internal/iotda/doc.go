// Package iotda is the vocabulary of the Huawei Cloud IoTDA batch-task API: the
// words it uses for the states of tasks and sub-tasks, the shapes of its replies,
// its times and its error codes.
//
// It holds facts and nothing that acts on them. Each fact names its source in
// brackets: [doc] the published API reference, [sdk] the source of
// huaweicloud-sdk-go-v3, [user] reports of users, [ours] our own judgement where
// nothing is published.
package iotda
