package verify

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// image is what buildah makes of the Dockerfile, taken apart.
type image struct {
	config struct {
		User         string
		Env          []string
		Cmd          []string
		Entrypoint   []string
		Volumes      map[string]struct{}
		ExposedPorts map[string]struct{}
		Labels       map[string]string
		Healthcheck  struct{ Test []string }
	}
	files map[string]*tar.Header
	size  int64  // of the layers as they are pulled
	tree  string // where its files are
}

var built = sync.OnceValues(buildImage)

func theImage(t *testing.T) *image {
	t.Helper()
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Skip("buildah is not installed: apt-get install buildah")
	}
	if os.Getuid() != 0 {
		t.Skip("the image is built, and run as another user, by root only")
	}
	i, err := built()
	require.NoError(t, err)
	return i
}

func TestMain(m *testing.M) {
	code := m.Run()
	if scratch != "" {
		os.RemoveAll(scratch)
	}
	os.Exit(code)
}

var scratch string // of the image

// buildImage does what `make image` does, with a store of its own.
func buildImage() (*image, error) {
	var err error
	if scratch, err = os.MkdirTemp("", "retryd-image-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(scratch, 0o755); err != nil { // another user passes through
		return nil, err
	}
	buildah := []string{"buildah", "--storage-driver", "vfs", "--root", filepath.Join(scratch, "store"), "--runroot", filepath.Join(scratch, "run")}
	out := filepath.Join(scratch, "image")
	for _, command := range [][]string{
		{"make", "--no-print-directory", "image-files", "IMAGE_ARCHS=" + runtime.GOARCH},
		slices.Concat(buildah, []string{
			"build", "--quiet", "--isolation", "chroot", "--format", "docker", "-t", "retryd:test",
			"--build-arg", "TARGETARCH=" + runtime.GOARCH, "--build-arg", "VERSION=v1.2.3", "-f", "deploy/container/Dockerfile", "dist/image",
		}),
		slices.Concat(buildah, []string{"push", "--quiet", "retryd:test", "dir:" + out}),
	} {
		c := exec.Command(command[0], command[1:]...)
		c.Dir = root
		if text, err := c.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, text)
		}
	}
	return takeApart(out, filepath.Join(scratch, "tree"))
}

func takeApart(folder, tree string) (*image, error) {
	i := &image{files: map[string]*tar.Header{}, tree: tree}
	var manifest struct {
		Config struct{ Digest string }
		Layers []struct {
			Digest string
			Size   int64
		}
	}
	if err := readJSON(filepath.Join(folder, "manifest.json"), &manifest); err != nil {
		return nil, err
	}
	whole := struct{ Config any }{&i.config}
	if err := readJSON(filepath.Join(folder, strings.TrimPrefix(manifest.Config.Digest, "sha256:")), &whole); err != nil {
		return nil, err
	}
	for _, layer := range manifest.Layers {
		i.size += layer.Size
		if err := i.unpack(filepath.Join(folder, strings.TrimPrefix(layer.Digest, "sha256:"))); err != nil {
			return nil, err
		}
	}
	return i, nil
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func (i *image) unpack(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		h.Name = strings.TrimSuffix(h.Name, "/")
		i.files[h.Name] = h
		if err := put(filepath.Join(i.tree, h.Name), h, r); err != nil {
			return err
		}
	}
}

func put(path string, h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeDir {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	} else {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	if err := os.Chmod(path, h.FileInfo().Mode()); err != nil {
		return err
	}
	return os.Chown(path, h.Uid, h.Gid)
}

func TestTheImageHoldsTheProgramAndItsFolderAndNothingElse(t *testing.T) {
	i := theImage(t)
	require.Equal(t, []string{"usr", "usr/bin", "usr/bin/retryd", "var", "var/lib", "var/lib/retryd"}, slices.Sorted(maps.Keys(i.files)))
	program, folder := i.files["usr/bin/retryd"], i.files["var/lib/retryd"]
	require.EqualValues(t, 0o755, program.Mode&0o7777)
	require.Zero(t, program.Uid, "the daemon cannot change itself")
	require.EqualValues(t, 0o700, folder.Mode&0o7777)
	require.Equal(t, [2]int{65532, 65532}, [2]int{folder.Uid, folder.Gid})
	t.Logf("%.1f MB to pull, %.1f MB on disk", float64(i.size)/1e6, float64(program.Size)/1e6)
	require.Less(t, program.Size, int64(48e6))
}

func TestTheImageSaysHowItIsRun(t *testing.T) {
	c := theImage(t).config
	require.Equal(t, "65532:65532", c.User, "a number, which Kubernetes can see is not root, and for ever the same")
	require.Equal(t, []string{"/usr/bin/retryd"}, c.Entrypoint)
	require.Equal(t, []string{"run", "--auto-reload"}, c.Cmd)
	require.Equal(t, []string{"CMD", "/usr/bin/retryd", "healthcheck"}, c.Healthcheck.Test, "there is no shell")
	require.Contains(t, c.Volumes, "/var/lib/retryd")
	require.Contains(t, c.ExposedPorts, "9464/tcp")
	require.Equal(t, "v1.2.3", c.Labels["org.opencontainers.image.version"])
	require.Equal(t, "Apache-2.0", c.Labels["org.opencontainers.image.licenses"])
}
