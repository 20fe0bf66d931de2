package iotdaclient

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/provider"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"

	"retryd/internal/iotda"
)

// sourcePod is only ever a part of the chain.
const sourcePod sourceName = "pod"

// place is where the SDK looks for keys.
type place struct {
	name     sourceName
	provider provider.ICredentialProvider
}

var (
	inEnv      = &place{sourceEnv, provider.BasicCredentialEnvProvider()}
	inProfile  = &place{sourceProfile, provider.BasicCredentialProfileProvider()}
	atMetadata = &place{sourceMetadata, provider.BasicCredentialMetadataProvider()}
	inPod      = &place{sourcePod, provider.BasicCredentialPodIdentityProvider()}
)

// places are what a provider's name stands for, and what a person can do where nothing is
// found. The chain's order is the SDK's own [sdk core/auth/provider/provider_chain.go
// BasicCredentialProviderChain], which is not used as it is because it does not tell where it
// found something.
var places = map[sourceName]struct {
	chain  []*place
	remedy string
}{
	sourceEnv:      {[]*place{inEnv}, "set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK in this program's environment"},
	sourceProfile:  {[]*place{inProfile}, "write ak and sk under [basic] in the profile, which HUAWEICLOUD_SDK_CREDENTIALS_FILE names"},
	sourceMetadata: {[]*place{atMetadata}, "give this machine an agency in the console"},
	sourceChain: {
		[]*place{inEnv, inProfile, atMetadata, inPod},
		"set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, or write ak and sk under [basic] in the profile, or give this machine an agency",
	},
}

// label names a place for a person.
func (p *place) label() string {
	switch p.name {
	case sourceEnv:
		return "environment"
	case sourceProfile:
		return "profile " + profilePath()
	case sourceMetadata:
		return "metadata service http://169.254.169.254"
	}
	return "pod identity"
}

// profilePath is where the SDK looks [sdk core/auth/provider/profile_provider.go].
func profilePath() string {
	if path := os.Getenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE"); path != "" {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "~/.huaweicloud/credentials"
	}
	return filepath.Join(home, ".huaweicloud", "credentials")
}

// wordsOf says why nothing was found. Texts of the SDK's errors may quote what was read, a
// line of the profile or a reply with keys in it: only those that cannot are passed on.
func wordsOf(at sourceName, err error) string {
	var incomplete *sdkerr.CredentialsTypeError
	var refused *sdkerr.ServiceResponseError
	var link *url.Error
	var path *fs.PathError
	switch {
	case at == sourceProfile && errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case errors.As(err, &path):
		return path.Error()
	case errors.As(err, &link) && link.Timeout():
		return "no answer in time"
	case errors.As(err, &link):
		return "no answer: " + iotda.Clip(plain(link), 200)
	case errors.As(err, &refused):
		return fmt.Sprintf("HTTP %d %s", refused.StatusCode, iotda.Clip(refused.ErrorMessage, 120))
	case at == sourceEnv && errors.As(err, &incomplete):
		return "HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK are not both set, nor HUAWEICLOUD_SDK_IDP_ID and HUAWEICLOUD_SDK_ID_TOKEN_FILE"
	case at == sourceProfile && errors.As(err, &incomplete):
		return "has no ak and sk under [basic], nor idp_id and id_token_file"
	case at == sourceProfile:
		return "is not a profile in INI form"
	case at == sourcePod && os.Getenv("HC_CONTAINER_CREDENTIALS_FULL_URI") == "":
		return "HC_CONTAINER_CREDENTIALS_FULL_URI is not set"
	}
	return "the answer was not understood"
}
