# pwsh -File powershell.ps1 SCRIPT LINES: asks PowerShell what it offers for each line.
. ([scriptblock]::Create((Get-Content -Raw $args[0])))
foreach ($line in Get-Content $args[1]) {
    $offered = (TabExpansion2 -inputScript $line -cursorColumn $line.Length).CompletionMatches.CompletionText
    (@($line) + @($offered)) -join "`t"
}
