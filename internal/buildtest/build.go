// Package buildtest builds retryd for tests that run the real binary.
package buildtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Retryd builds the program into a folder, compiled as a release is: whatever builds it shares what is compiled.
func Retryd(ctx context.Context, folder string) (file string, err error) {
	file = filepath.Join(folder, "retryd")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", file, "retryd/cmd/retryd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build retryd: %w\n%s", err, out)
	}
	return file, nil
}
