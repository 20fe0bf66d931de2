package iotda

import (
	"net/http"
	"strings"
)

// Class says what an error of an API call means for whoever made the call.
type Class string

// The classes of errors of API calls.
const (
	// ClassTransient passes by itself: 5xx, timeouts, cut connections.
	ClassTransient Class = "transient"
	// ClassThrottled means too many calls: wait, then go slower.
	ClassThrottled Class = "throttled"
	// ClassAuth means that the credentials were not accepted. Five in a row lock an
	// access key for 5 minutes [doc devg-apisign api-sign-0001]: never repeat blindly.
	ClassAuth Class = "auth"
	// ClassPermission means known credentials without the right to do this.
	ClassPermission Class = "permission"
	// ClassNotFound means that the task, or the path, does not exist.
	ClassNotFound Class = "not_found"
	// ClassRefused means that the platform understood the request and will not do it.
	ClassRefused Class = "refused"
	// ClassBroken means a reply that is not the API's: HTML, cut JSON, a redirect.
	ClassBroken Class = "broken"
)

// codes holds the error codes whose meaning is known and differs from what their HTTP
// status says. The table of 0142xx codes could not be read; only 014219 is confirmed.
var codes = map[string]Class{
	"IOTDA.000002": ClassAuth,       // authentication failed, also a plain signature to an instance's own host [user]
	"IOTDA.000004": ClassAuth,       // invalid access token, HTTP 403 [doc]
	"IOTDA.000021": ClassPermission, // not subscribed in this region, or the wrong host, HTTP 403 [user]
	"IOTDA.000034": ClassPermission, // operation not allowed for this user [doc, text cut]
	"IOTDA.014016": ClassTransient,  // device not online, HTTP 403 [sdk model_error_info_dto.go]
	"IOTDA.014111": ClassTransient,  // device command timed out [user]
	"IOTDA.014112": ClassTransient,  // device not subscribed to the topic [sdk, same file]
	"IOTDA.021101": ClassThrottled,  // rate limit, HTTP 403 [doc]
	"IOTDA.021102": ClassThrottled,  // rate limit of the tenant, HTTP 403 [doc]
	"APIGW.0301":   ClassAuth,       // signature, token or key not accepted, or the key locked [doc]
	"APIGW.0302":   ClassPermission, // IAM user without the right [ours, from memory]
	"APIGW.0303":   ClassAuth,
	"APIGW.0305":   ClassAuth,
	"APIGW.0307":   ClassAuth,      // token needs renewal [ours, from memory]
	"APIGW.0308":   ClassThrottled, // [doc]
}

// IsAPICode tells whether a code was written by IoTDA or by the gateway before it, and
// so proves that the request was answered by them and not by something in between. The
// gateway's prefix is APIG or APIGW [doc].
func IsAPICode(code string) bool {
	for _, prefix := range []string{"IOTDA.", "APIG.", "APIGW."} {
		if len(code) > len(prefix) && strings.HasPrefix(code, prefix) {
			return true
		}
	}
	return false
}

// Classify gives the class of an answer that is not a success. code is the error code
// of the body, empty where there was none.
func Classify(httpStatus int, code string) Class {
	if rest, ok := strings.CutPrefix(code, "APIG."); ok {
		code = "APIGW." + rest
	}
	if class, ok := codes[code]; ok {
		return class
	}
	switch {
	case httpStatus == http.StatusTooManyRequests:
		return ClassThrottled
	case httpStatus >= 500:
		return ClassTransient
	case httpStatus == http.StatusUnauthorized:
		return ClassAuth
	case !IsAPICode(code):
		return ClassBroken
	case httpStatus == http.StatusForbidden:
		return ClassPermission
	case httpStatus == http.StatusNotFound:
		return ClassNotFound
	}
	return ClassRefused
}
