package iotdaclient

import (
	"fmt"
	"time"

	"retryd/internal/iotda"
)

// sourceName says where credentials come from, for what a person has to mend.
type sourceName string

const (
	sourceKey       sourceName = "aksk"
	sourceToken     sourceName = "token"
	sourceTokenFile sourceName = "token file"
	sourceLogin     sourceName = "iam"
	sourceEnv       sourceName = "env"
	sourceProfile   sourceName = "profile"
	sourceMetadata  sourceName = "metadata"
	sourceChain     sourceName = "chain"
)

func nameOf(s Source) sourceName {
	switch s := s.(type) {
	case Key:
		return sourceKey
	case Token:
		return sourceToken
	case TokenFile:
		return sourceTokenFile
	case *Login:
		return sourceLogin
	case *Provider:
		return s.name
	}
	return ""
}

// Remedy says what a person can do about it, empty where waiting is all.
func (e *Error) Remedy() string {
	if ahead := e.ClockAhead.Abs(); e.Class == iotda.ClassAuth && ahead > 5*time.Minute {
		return fmt.Sprintf("this machine's clock is off by %s against the platform's: set it", ahead.Round(time.Second))
	}
	switch {
	case e.Class == iotda.ClassTransient && !e.reached && e.login:
		return networkRemedy(e.err, "auth.iam.endpoint of this connection")
	case e.Class == iotda.ClassTransient && !e.reached:
		return networkRemedy(e.err, "endpoint of this connection")
	case e.Class == iotda.ClassAuth:
		return "the credentials were not accepted: " + e.refusedRemedy()
	case e.Class == classLocked && e.err == nil:
		return e.lockedRemedy()
	case e.Class == classCredentials:
		return e.missingRemedy()
	case e.login:
		return "" // what follows is about IoTDA
	case e.Code == "IOTDA.000021": // wrong host, or not subscribed there [user]
		return "IoTDA is not known there for this project, or not as this instance: check project_id, endpoint, region and instance_id of this connection"
	case e.Class == iotda.ClassPermission && e.Op != opList && e.Op != opShow && e.Op != opRetry:
		return "grant this user the right to call " + e.Op + ", or do without what needs it: targets.require_online reads devices, tasks.app_names reads resource spaces"
	case e.Class == iotda.ClassPermission:
		return "grant iotda:batchtasks:queryList, iotda:batchtasks:query and iotda:batchtasks:retry to this user, and check endpoint, region and project_id"
	case e.Class == iotda.ClassNotFound && e.Op == opList:
		return "check endpoint and project_id of this connection"
	case e.Class == iotda.ClassBroken && e.Status/100 == 3:
		return "the endpoint redirects, which is not followed: set endpoint to the API's own host"
	}
	return ""
}

// permissions are what a user needs for calls [doc iot_06_v5_0028; that of ShowBatchTask is ours, by the names
// of the others].
var permissions = map[string]string{
	opList: "iotda:batchtasks:queryList", opShow: "iotda:batchtasks:query", opRetry: "iotda:batchtasks:retry",
}

// Lacks names the permission that the user lacks, as far as that is the trouble and its name is known.
func (e *Error) Lacks() string {
	if e.Class != iotda.ClassPermission || e.Code == "IOTDA.000021" {
		return ""
	}
	return permissions[e.Op]
}

func (e *Error) refusedRemedy() string {
	switch e.source {
	case sourceToken:
		return "a token ends 24 hours after its issue and holds for one project: set a new auth.token.value, or use auth.token.file or auth.iam; and check endpoint and project_id of this connection"
	case sourceTokenFile:
		return "a token ends 24 hours after its issue and holds for one project: write a new one to auth.token.file, and check endpoint and project_id of this connection"
	case sourceLogin:
		if e.login { // a HUAWEI ID and a user with MFA get no token by password [doc iam_30_0001]
			return "check auth.iam.domain (the account's name), auth.iam.user, auth.iam.password and auth.iam.endpoint, and project_id of this connection; it has to be an IAM user, not a HUAWEI ID, that may log in without MFA"
		}
		return "the token that IAM gave for auth.iam.user does not hold there: check endpoint and project_id of this connection, auth.iam.endpoint and the user's grants"
	case sourceEnv, sourceProfile, sourceMetadata, sourceChain:
		return "check what auth.provider " + string(e.source) + " finds (" + places[e.source].remedy + "), and endpoint and region of this connection"
	}
	if e.Code == "IOTDA.000002" { // what a host says to the form of signature that it does not take [user]
		switch e.signed {
		case SigningBasic:
			return "the call was signed in the basic form, and an instance's own host wants the other: set auth.aksk.signing to derived, else check the keys and the grants"
		case SigningDerived:
			return "the call was signed in the derived form, for which region has to be the instance's; the basic edition's host wants the other: set auth.aksk.signing to basic there; else check the keys and the grants"
		}
	}
	return "check access_key and secret_key, region and auth.aksk.signing of this connection"
}

func (e *Error) lockedRemedy() string {
	switch e.source {
	case sourceToken:
		return "the token was refused twice within 5 minutes: set a new auth.token.value and reload, or wait"
	case sourceTokenFile:
		return "the token was refused twice within 5 minutes: write a new one to auth.token.file, which is used at once, or wait"
	case sourceLogin:
		return "logins were refused twice within an hour, or their tokens within 5 minutes, and more would lock the user: correct auth.iam and reload, or wait"
	case sourceEnv, sourceProfile, sourceMetadata, sourceChain:
		return "the credentials were refused twice within 5 minutes, and five times would lock the key: correct what auth.provider " + string(e.source) + " finds, and wait; another key is used at once"
	}
	return "the credentials were refused twice within 5 minutes, and five times would lock the key: correct them, and wait; another access key is used at once"
}

func (e *Error) missingRemedy() string {
	switch e.source {
	case sourceTokenFile:
		return "write a token to auth.token.file of this connection, readable for this program"
	case sourceLogin:
		return "check auth.iam.endpoint, auth.iam.domain and auth.iam.user, and project_id of this connection"
	case sourceEnv, sourceProfile, sourceMetadata, sourceChain:
		return places[e.source].remedy + "; or set auth.aksk, auth.token or auth.iam of this connection"
	}
	return "mend the auth section of this connection"
}
